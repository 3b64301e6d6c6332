"""A minibatch as bytes: what the store appends.

One line of JSON that names each array with dtype and shape, then the arrays' bytes, compressed lightly, behind their
length in 8 bytes; then large sums, which would only cost time to compress. Histograms of values are stored as the bins
that are not 0, and large sums that float32 holds exactly as float32.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from typing import Any

import numpy as np

from multigraft.archive import FREE_EXPANSION, MOST_EXPANSION
from multigraft.errors import InputError
from multigraft.reading import parse_json
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import Minibatch
from multigraft.statistics.tally import Terms
from multigraft.tensors.arrays import Array

_KINDS = ("sums", "counts", "lows", "highs")
_PARTS = ("overall", "local")
LARGEST = 256 << 20
"""Bytes that a minibatch may unpack to."""
MOST_BINS = 1 << 20
MOST_FRAMES = 1 << 20

_LARGE_FROM = 1000
_LEVEL = 1
_LENGTH = struct.Struct("<Q")
_PLAIN, _BINS, _BIN_COUNTS, _BEHIND = "", "bins", "held", "behind"
"""How an array lies in a record, as the last part of its key."""


def to_bytes(minibatch: Minibatch) -> bytes:
    """Encode a minibatch."""
    arrays: dict[str, Array] = {}
    for part in _PARTS:
        terms: Terms = getattr(minibatch, part)
        for kind in _KINDS:
            for name, array in getattr(terms, kind).items():
                key = f"{part}/{kind}/{name}"
                if array.size < _LARGE_FROM:
                    arrays[f"{key}//{_PLAIN}"] = array
                elif kind == "counts":
                    # From a boolean array it takes a fifth of the time.
                    bins = np.flatnonzero(array != 0)
                    arrays[f"{key}/{array.size}/{_BINS}"] = bins.astype(np.min_scalar_type(array.size))
                    arrays[f"{key}/{array.size}/{_BIN_COUNTS}"] = array[bins].astype(np.min_scalar_type(array.max()))
                else:
                    arrays[f"{key}//{_BEHIND}"] = _shortened(array)
    arrays |= {f"similarity/{k}": v for k, v in minibatch.similarity.to_arrays().items()}
    behind = {name: array for name, array in arrays.items() if name.endswith(f"/{_BEHIND}")}
    first = {name: array for name, array in arrays.items() if name not in behind}
    table = [[name, array.dtype.str, list(array.shape)] for name, array in (first | behind).items()]
    header = json.dumps({"frames": minibatch.overall.frames, "rest": minibatch.is_rest, "arrays": table}).encode()
    content = zlib.compress(b"".join([header, b"\n", *map(_bytes_of, first.values())]), _LEVEL)
    return b"".join([_LENGTH.pack(len(content)), content, *map(_bytes_of, behind.values())])


def _shortened(array: Array) -> Array:
    with np.errstate(over="ignore"):
        short = array.astype(np.float32)
    return short if np.array_equal(short, array) else array


def _bytes_of(array: Array) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def from_bytes(data: bytes) -> Minibatch:
    """Decode what :func:`to_bytes` gave.

    Raises:
        InputError: It is damaged, or unpacks to more than a minibatch may have.
    """
    try:
        end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        most = FREE_EXPANSION + MOST_EXPANSION * len(data)
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(data[_LENGTH.size : end], min(most, LARGEST))
        if not unpacking.eof:
            raise ValueError("its compressed part does not end")
        return _decoded(content + data[end:])
    except (zlib.error, struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"a minibatch in the store is damaged ({error})", "start again with another file") from error
    except (OverflowError, RecursionError, MemoryError) as error:
        raise InputError("a minibatch in the store is damaged", "start again with another file") from error


def _decoded(content: bytes) -> Minibatch:
    end = content.index(b"\n")
    header = parse_json(content[:end])
    frames = header["frames"]
    if type(frames) is not int or not 1 <= frames < MOST_FRAMES:
        raise ValueError("it has no number of frames")
    overall, local = Terms(frames), Terms(frames)
    parts = {"overall": overall, "local": local}
    similarity: dict[str, Array] = {}
    bins: Array = np.empty(0, np.intp)
    position = end + 1
    for key, dtype, shape in header["arrays"]:
        array = _array(content, np.dtype(dtype), [int(n) for n in shape], position)
        position += array.nbytes
        part, _, rest = key.partition("/")
        if part == "similarity":
            similarity[rest] = array
            continue
        kind, _, rest = rest.partition("/")
        if kind not in _KINDS:
            raise ValueError("it holds an unknown kind of numbers")
        name, size, role = rest.rsplit("/", 2)
        target = getattr(parts[part], kind)
        if role == _BINS:
            bins = array
        elif role == _BIN_COUNTS:
            if not 0 <= int(size) <= MOST_BINS:
                raise ValueError("a histogram has too many bins")
            target[name] = np.zeros(int(size), np.int64)
            target[name][bins] = array
        else:
            target[name] = array.astype(np.float64) if role == _BEHIND else array
    for terms in parts.values():
        if any(a.dtype.kind not in "iu" for a in terms.counts.values()) or any(
            a.dtype != np.float64 for kind in (terms.sums, terms.lows, terms.highs) for a in kind.values()
        ):
            raise ValueError("its numbers are of another type")
    return Minibatch(overall, local, SimilaritySums.from_arrays(similarity), bool(header["rest"]))


def _array(content: bytes, dtype: np.dtype[Any], shape: list[int], position: int) -> Array:
    length = math.prod(shape)
    if dtype.kind not in "iufU" or any(n < 0 for n in shape) or length * dtype.itemsize > len(content) - position:
        raise ValueError("an array is longer than it")
    return np.frombuffer(content, dtype, length, position).reshape(shape).copy()
