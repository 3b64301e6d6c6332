"""Inputs beside the frame that are the same for every frame (a sampling rate, an empty state): constants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from multigraft.converters.importing.forms.inputs import fed_inputs
from multigraft.errors import InputError

LARGEST = 1 << 24
"""Elements of one; an input of more is no setting and no state."""


def hold_constant(model: onnx.ModelProto, values: Mapping[str, float], where: str) -> None:
    """Make inputs constants, in place.

    Args:
        model: As it was read.
        values: Input to the value of all of its elements; an open dimension of it is taken as 1.
        where: File name, for messages.

    Raises:
        InputError: An input is not there, is of a type that holds no such number, or no input is left for the frame.
    """
    inputs = {i.name: i for i in fed_inputs(model.graph)}
    for name, value in values.items():
        if name not in inputs:
            raise InputError(f"{where} has no input {name!r}", f"its inputs are {', '.join(inputs)}")
        kind = inputs[name].type.tensor_type
        shape = [d.dim_value or 1 for d in kind.shape.dim]
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
        if np.prod(shape, dtype=np.float64) > LARGEST:
            raise InputError(
                f"{where}: input {name} has {shape} elements, too many for a constant", "give a smaller one"
            )
        if dtype.kind not in "fiub" or not _holds(dtype, value):
            raise InputError(f"{where}: input {name} is {dtype}, which does not hold {value:g}", "give another value")
        model.graph.initializer.append(numpy_helper.from_array(np.full(shape, value, dtype), name))
    left = [i for i in model.graph.input if i.name not in values]
    if values and not any(i.name in inputs for i in left):
        raise InputError(f"{where} has no input left for the frame", "leave one out of its constants")
    del model.graph.input[:]
    model.graph.input.extend(left)


def _holds(dtype: np.dtype[np.generic], value: float) -> bool:
    if dtype.kind == "f":
        return True
    if dtype.kind == "b":
        return value in (0, 1)
    limits = np.iinfo(dtype.name)
    return float(value).is_integer() and limits.min <= value <= limits.max
