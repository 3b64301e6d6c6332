"""Tensors of the Open Inference Protocol: JSON lists or raw bytes behind the JSON part, and numpy's arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from multigraft.runtime.http.guard import RefusedError
from multigraft.tensors.arrays import Array

DATATYPES: Mapping[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
"""numpy's names to the protocol's."""
_DTYPES = {name: np.dtype(dtype) for dtype, name in DATATYPES.items()}
_MOST_AXES = 8


@dataclass(frozen=True)
class Expected:
    """What a model takes.

    Attributes:
        name: Of the input.
        datatype: The protocol's name.
        shape: -1 where any length may be given.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    may_be_grey: bool = False

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of that shape is one."""
        expected = self.shape[:-1] if self.may_be_grey and len(shape) == len(self.shape) - 1 else self.shape
        return len(shape) == len(expected) and all(e in (-1, s) for s, e in zip(shape, expected, strict=True))


def read_input(given: Any, expected: Mapping[str, Expected], binary: memoryview) -> tuple[str, Array, int]:
    """One entry of ``inputs``.

    Args:
        given: The entry.
        expected: By name.
        binary: What is left behind the JSON part.

    Returns:
        Its name, the array, and how many bytes of ``binary`` it took.

    Raises:
        RefusedError: 400, in a sentence.
    """
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise RefusedError(400, "an input has no name")
    name = given["name"]
    if name not in expected:
        raise RefusedError(400, f"there is no input {name[:80]!r}; choose from: {', '.join(expected)}")
    wanted, shape = expected[name], given.get("shape")
    if not isinstance(shape, list) or len(shape) > _MOST_AXES or not all(type(n) is int and n > 0 for n in shape):
        raise RefusedError(400, f"input {name} needs a shape of positive whole numbers")
    if given.get("datatype") != wanted.datatype or not wanted.fits(tuple(shape)):
        raise RefusedError(
            400,
            f"input {name} is {str(given.get('datatype'))[:20]} of shape {shape}, "
            f"and has to be {wanted.datatype} of shape {list(wanted.shape)}",
        )
    dtype, count = _DTYPES[wanted.datatype], math.prod(shape)
    parameters = given.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        return name, _of_json(name, given.get("data"), dtype, shape, count), 0
    if type(size) is not int or size != count * dtype.itemsize or size > len(binary):
        raise RefusedError(400, f"input {name} has to have {count * dtype.itemsize} bytes of binary data")
    return name, np.frombuffer(binary[:size], dtype).reshape(shape), size


def _of_json(name: str, data: Any, dtype: np.dtype[Any], shape: list[int], count: int) -> Array:
    if not isinstance(data, list):
        raise RefusedError(400, f"input {name} has no data")
    try:
        with np.errstate(all="ignore"):
            loose = np.array(data)
            values = loose.astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise RefusedError(400, f"input {name}: its data is no array of numbers") from error
    if loose.dtype.kind not in "biuf" or values.size != count:
        raise RefusedError(400, f"input {name}: its data is not {count} numbers")
    if dtype.kind in "iu" and not np.array_equal(values, loose):
        raise RefusedError(400, f"input {name}: its data does not fit {dtype}")
    return values.reshape(shape)


def write_output(name: str, values: Array | list[str], is_binary: bool) -> tuple[dict[str, Any], bytes]:
    """One entry of ``outputs``, and what follows the JSON part.

    Args:
        name: Of the output.
        values: An array, or texts.
        is_binary: As bytes rather than as a list.
    """
    if isinstance(values, list):
        texts = [text.encode() for text in values]
        entry: dict[str, Any] = {"name": name, "datatype": "BYTES", "shape": [len(texts)]}
        raw = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
        listed: Any = values
    else:
        entry = {"name": name, "datatype": DATATYPES[values.dtype.name], "shape": list(values.shape)}
        raw = np.ascontiguousarray(values).tobytes() if is_binary else b""
        listed = [] if is_binary else values.reshape(-1).tolist()
    if is_binary:
        return {**entry, "parameters": {"binary_data_size": len(raw)}}, raw
    return {**entry, "data": listed}, b""
