"""Taking colour order and normalisation out of the preprocessing and into the first layer, where that is exact.

Networks whose preprocessing is then equal read one and the same input tensor. With ``x = (pixel - mean) * scale``:

- leading Add, Sub, Mul, Div by a constant per channel become part of ``mean`` and ``scale``;
- colour order permutes the first layers' input channels;
- scale multiplies them, so that what is left is pixels of 0..1;
- mean goes into the bias, but only where no layer pads: padding is 0 after normalisation, which is another pixel value
  before it. For the same reason it stays where the preprocessing itself pads (``resize="fit"``).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from multigraft.converters.importing.equivalence import runner
from multigraft.converters.importing.probe_frames import probe_frames
from multigraft.converters.importing.saturation import before_saturation
from multigraft.converters.network.closeness import TOLERANCE, difference
from multigraft.converters.network.network import attributes
from multigraft.errors import ConversionError
from multigraft.tensors.preprocessing import Preprocessing, prepare_batch

UNIT_SCALE = 1 / 255
"""What is left of ``scale``: the network input is 0..1, or -mean/255..(255-mean)/255."""

Constants = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class _Reader:
    """A linear layer that reads the image itself."""

    node: onnx.NodeProto
    is_flattened: bool

    @property
    def pads(self) -> bool:
        if self.node.op_type != "Conv":
            return False
        given: dict[str, Any] = attributes(self.node)
        pads = given.get("pads", [0])
        is_automatic = given.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER")
        return is_automatic or any(pads)

    @property
    def groups(self) -> int:
        given: dict[str, Any] = attributes(self.node)
        groups: int = given.get("group", 1)
        return groups


def fold_input(model: onnx.ModelProto, preprocessing: Preprocessing) -> tuple[onnx.ModelProto, Preprocessing]:
    """The same answers to the same camera frames with as little preprocessing as is exact.

    Args:
        model: A clean model (:mod:`~multigraft.converters.importing.simplify`); it is not changed.
        preprocessing: What its input expects.

    Returns:
        A copy and the preprocessing that is left; ``model`` itself if nothing could be folded.

    Raises:
        ConversionError: The copy computes something else.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    name = model.graph.input[0].name
    left = _fold(copy.graph, name, _absorb(copy.graph, name, preprocessing))
    if left == preprocessing:
        return model, preprocessing
    worst = _difference(model, preprocessing, copy, left)
    if worst > TOLERANCE:
        (old, ends), (new, new_ends) = before_saturation(model), before_saturation(copy)
        if ends and ends == new_ends and _difference(old, preprocessing, new, left) <= TOLERANCE:
            return copy, left
        raise ConversionError(
            f"folding the preprocessing changes the outputs by {worst:.2g} of their size", "report this model"
        )
    return copy, left


def _difference(old: onnx.ModelProto, whole: Preprocessing, new: onnx.ModelProto, left: Preprocessing) -> float:
    name = old.graph.input[0].name
    # Frames of twice the size and another shape, so that resizing and its padding take part.
    frames = probe_frames(2 * whole.height, whole.width, 3)
    run, run_new = runner(old, "the network"), runner(new, "the folded network")
    pairs = zip(prepare_batch(frames, whole), prepare_batch(frames, left), strict=True)
    return max(difference(run_new({name: y[None]}), run({name: x[None]})) for x, y in pairs)


def _absorb(graph: onnx.GraphProto, name: str, preprocessing: Preprocessing) -> Preprocessing:
    """Take leading arithmetic by constants off the graph."""
    mean, scale = np.array(preprocessing.mean), np.array(preprocessing.scale)
    constants = _constants(graph)
    outputs = {o.name for o in graph.output}
    while True:
        users = [n for n in graph.node if name in n.input]
        node = users[0] if len(users) == 1 else None
        if node is None or node.op_type not in ("Add", "Sub", "Mul", "Div") or node.output[0] in outputs:
            break
        left, right = node.input
        other = right if left == name else left
        is_swapped = right == name and node.op_type in ("Sub", "Div")
        value = _per_channel(constants.get(other), preprocessing.channels)
        shifts = node.op_type in ("Add", "Sub")
        if value is None or is_swapped or (shifts and preprocessing.pads):
            break
        if not shifts and not np.all(value):
            break
        if shifts:
            mean = mean + (value if node.op_type == "Sub" else -value) / scale
        else:
            scale = scale * value if node.op_type == "Mul" else scale / value
        written = node.output[0]
        graph.node.remove(node)
        for user in graph.node:
            for i, read in enumerate(user.input):
                if read == written:
                    user.input[i] = name
    return _with(preprocessing, mean, scale)


def _fold(graph: onnx.GraphProto, name: str, preprocessing: Preprocessing) -> Preprocessing:
    constants = _constants(graph)
    readers = _readers(graph, name, constants)
    if not readers:
        return preprocessing
    mean, scale = np.array(preprocessing.mean), np.array(preprocessing.scale)
    flips = preprocessing.color == "bgr" and all(r.groups == 1 for r in readers)
    folds_mean = (
        mean.any() and not preprocessing.pads and not any(r.pads or r.node.op_type == "MatMul" for r in readers)
    )
    ratio = scale / UNIT_SCALE
    shift = -mean * scale if folds_mean else np.zeros_like(mean)
    if not flips and not folds_mean and np.all(ratio == 1):
        return preprocessing
    for reader in readers:
        _rewrite(graph, reader, constants, ratio, shift, flips)
    order = slice(None, None, -1) if flips else slice(None)
    left = _with(preprocessing, np.zeros_like(mean) if folds_mean else mean[order], np.full_like(scale, UNIT_SCALE))
    return dataclasses.replace(left, color="rgb") if flips else left


def _rewrite(
    graph: onnx.GraphProto,
    reader: _Reader,
    constants: Constants,
    ratio: npt.NDArray[np.float64],
    shift: npt.NDArray[np.float64],
    flips: bool,
) -> None:
    node = reader.node
    given: dict[str, Any] = attributes(node)
    weight = constants[node.input[1]].astype(np.float64)
    bias = constants[node.input[2]].astype(np.float64) if len(node.input) > 2 and node.input[2] else None
    channels = len(ratio)
    if node.op_type == "Conv":
        # (groups, outputs / groups, channels / groups, kernel elements)
        view = weight.reshape(reader.groups, -1, channels // reader.groups, int(np.prod(weight.shape[2:])))
        per_group = [v.reshape(reader.groups, 1, -1, 1) for v in (ratio, shift)]
        offset = (view * per_group[1]).sum(axis=(2, 3)).reshape(-1)
        view = view * per_group[0]
        weight = (view[:, :, ::-1] if flips else view).reshape(weight.shape)
    else:
        is_transposed = bool(given.get("transB"))
        matrix = weight if is_transposed else weight.T
        view = matrix.reshape(len(matrix), channels, -1)
        offset = (view * shift.reshape(1, -1, 1)).sum(axis=(1, 2))
        view = view * ratio.reshape(1, -1, 1)
        matrix = (view[:, ::-1] if flips else view).reshape(matrix.shape)
        weight = matrix if is_transposed else matrix.T
        offset = offset * float(given.get("alpha", 1.0)) / float(given.get("beta", 1.0))
    node.input[1] = _add(graph, f"{node.output[0]}/folded_weight", weight)
    if offset.any():
        added = _add(graph, f"{node.output[0]}/folded_bias", offset if bias is None else offset + bias)
        del node.input[2:]
        node.input.append(added)


def _readers(graph: onnx.GraphProto, name: str, constants: Constants) -> list[_Reader]:
    """The layers that read the image; none if anything else reads it as well."""
    readers = []
    for node in (n for n in graph.node if name in n.input):
        if node.op_type == "Conv" and node.input[0] == name:
            readers.append(_Reader(node, False))
            continue
        users = [n for n in graph.node if node.output[0] in n.input]
        flat = node.op_type == "Flatten" and attributes(node).get("axis", 1) == 1
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        flat = flat or (shape is not None and shape.shape == (2,))
        dense = all(n.op_type in ("Gemm", "MatMul") and n.input[0] == node.output[0] for n in users)
        if not flat or not dense or any(attributes(n).get("transA") for n in users):
            return []
        if any(attributes(n).get("beta", 1.0) == 0 for n in users):
            return []
        readers += [_Reader(n, True) for n in users]
    are_constant = all(i in constants for r in readers for i in r.node.input[1:] if i)
    is_output = name in {o.name for o in graph.output}
    return readers if are_constant and not is_output else []


def _per_channel(value: npt.NDArray[Any] | None, channels: int) -> npt.NDArray[np.float64] | None:
    """A constant that broadcasts over (1, channels, height, width) with one value per channel, or None."""
    if value is None:
        return None
    if value.size == 1:
        return np.full(channels, float(value.reshape(-1)[0]))
    if value.shape in ((channels, 1, 1), (1, channels, 1, 1)):
        return value.reshape(channels).astype(np.float64)
    return None


def _with(preprocessing: Preprocessing, mean: npt.NDArray[Any], scale: npt.NDArray[Any]) -> Preprocessing:
    return dataclasses.replace(preprocessing, mean=tuple(float(m) for m in mean), scale=tuple(float(s) for s in scale))


def _constants(graph: onnx.GraphProto) -> Constants:
    return {i.name: numpy_helper.to_array(i) for i in graph.initializer}


def _add(graph: onnx.GraphProto, name: str, value: npt.NDArray[Any]) -> str:
    held = {tensor.name for tensor in graph.initializer} | {o for node in graph.node for o in node.output}
    while name in held:  # A network that was folded before has such names.
        name += "_again"
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
    return name
