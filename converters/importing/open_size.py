"""Picture sizes for a network that leaves its own open: the one that the file states, else usual ones that run."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper

from multigraft.converters.importing.forms.inputs import fed_inputs
from multigraft.converters.network.network import session_of
from multigraft.errors import InputError

Size = tuple[int, int]

DEFAULT: Size = (224, 224)
"""Height and width, pixels, that are taken where nothing else is known."""

USUAL: tuple[Size, ...] = (DEFAULT, (320, 320), (640, 640), (512, 512), (48, 320), (32, 320), (32, 128), (64, 256))
"""Of classifiers, detectors and segmenters first, then of recognisers of a line of text, which fix the height only."""

_STATED = "imgsz"
"""Key under which Ultralytics writes the size that a network was exported for: [height, width]."""

_LARGEST = 1 << 14


def stated_size(model: onnx.ModelProto) -> Size | None:
    """Height and width that the file's metadata state; None where they state none."""
    text = next((p.value for p in model.metadata_props if p.key == _STATED), "")
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    pair = (value, value) if isinstance(value, int) else value
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return None
    if not all(isinstance(v, int) and 0 < v <= _LARGEST for v in pair):
        return None
    return int(pair[0]), int(pair[1])


def open_dimensions(value: onnx.ValueInfoProto) -> tuple[int, int] | None:
    """Positions of height and width of a picture input of which one at least is open; None for any other input."""
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    if len(dims) != 4:
        return None
    is_last = dims[3] in (1, 3) and dims[1] not in (1, 3)
    places = (1, 2) if is_last else (2, 3)
    return None if all(dims[i] for i in places) or dims[3 if is_last else 1] not in (0, 1, 3) else places


def usual_size(model: onnx.ModelProto) -> Size | None:
    """The stated size, else the first of :data:`USUAL` at which onnxruntime runs the network.

    Args:
        model: As :func:`~multigraft.converters.importing.onnx_reader.read_onnx` gave it, with one input.

    Returns:
        Height and width, fixed ones as the file has them; None where the size is not open, or none of them runs.
    """
    inputs = fed_inputs(model.graph)
    places = open_dimensions(inputs[0]) if len(inputs) == 1 else None
    if places is None:
        return None
    dims = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    fixed = dims[places[0]], dims[places[1]]
    stated = stated_size(model)
    if stated is not None:
        return fixed[0] or stated[0], fixed[1] or stated[1]
    return next(_running(model, inputs[0], places, fixed), None)


def _running(
    model: onnx.ModelProto, value: onnx.ValueInfoProto, places: tuple[int, int], fixed: Size
) -> Iterator[Size]:
    try:
        session = session_of(model, value.name)
    except InputError:
        return
    kind = value.type.tensor_type
    channels = 6 - sum(places)  # the axis that is neither batch, height nor width
    shape = [d.dim_value or (3 if i == channels else 1) for i, d in enumerate(kind.shape.dim)]
    tried = dict.fromkeys((fixed[0] or height, fixed[1] or width) for height, width in USUAL)
    for size in tried:
        shape[places[0]], shape[places[1]] = size
        try:
            session.run(None, {value.name: np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind.elem_type))})
        except Exception:  # onnxruntime's own exceptions have no common base that is typed
            continue
        yield size
