"""Named arrays as bytes without compression: fast to write and read in a store of a run's own."""

from __future__ import annotations

import json

import numpy as np

from multigraft.tensors.arrays import Array, Arrays


def packed(arrays: Arrays) -> bytes:
    """The arrays: a line of JSON that tells name, type and shape of each, then their elements in that order."""
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    head = [[name, array.dtype.str, list(array.shape)] for name, array in plain.items()]
    return json.dumps(head).encode() + b"\n" + b"".join(array.tobytes() for array in plain.values())


def unpacked(data: bytes) -> dict[str, Array]:
    """What :func:`packed` packed."""
    line, _, rest = data.partition(b"\n")
    arrays: dict[str, Array] = {}
    at = 0
    for name, kind, shape in json.loads(line):
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(rest, np.dtype(kind), count, at).reshape(shape)
        at += array.nbytes
        arrays[name] = array.copy()
    return arrays
