"""A minibatch as bytes: what the store appends.

One line of JSON that names each array with dtype and shape, then the arrays' bytes, all of it compressed lightly.
Histograms of values are stored as the bins that are not 0.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.errors import InputError
from multigraft.similarity import SimilaritySums
from multigraft.statistics import Minibatch
from multigraft.tally import Terms

_KINDS = ("sums", "counts", "lows", "highs")
_PARTS = ("overall", "local")
_SPARSE_FROM = 1000
_LEVEL = 1

Array = npt.NDArray[Any]


def to_bytes(minibatch: Minibatch) -> bytes:
    """Encode a minibatch."""
    arrays: dict[str, Array] = {}
    for part in _PARTS:
        terms: Terms = getattr(minibatch, part)
        for kind in _KINDS:
            for name, array in getattr(terms, kind).items():
                key = f"{part}/{kind}/{name}"
                if kind == "counts" and array.size >= _SPARSE_FROM:
                    # Of a boolean array it takes a fifth of the time.
                    bins = np.flatnonzero(array != 0)
                    arrays[f"{key}/{array.size}/bins"] = bins.astype(np.min_scalar_type(array.size))
                    arrays[f"{key}/{array.size}/held"] = array[bins].astype(np.min_scalar_type(array.max()))
                else:
                    arrays[f"{key}//"] = array
    arrays |= {f"similarity/{k}": v for k, v in minibatch.similarity.to_arrays().items()}
    table = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    header = json.dumps({"frames": minibatch.overall.frames, "arrays": table}).encode()
    content = b"".join([header, b"\n", *(np.ascontiguousarray(a).tobytes() for a in arrays.values())])
    return zlib.compress(content, _LEVEL)


def from_bytes(data: bytes) -> Minibatch:
    """Decode what :func:`to_bytes` gave.

    Raises:
        InputError: It is damaged.
    """
    try:
        return _decoded(zlib.decompress(data))
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise InputError(f"a minibatch in the store is damaged ({error})", "start again with another file") from error


def _decoded(content: bytes) -> Minibatch:
    end = content.index(b"\n")
    header = json.loads(content[:end])
    overall, local = Terms(header["frames"]), Terms(header["frames"])
    parts = {"overall": overall, "local": local}
    similarity: dict[str, Array] = {}
    bins: Array = np.empty(0)
    position = end + 1
    for key, dtype, shape in header["arrays"]:
        length = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(content, dtype, length, position).reshape(shape).copy()
        position += array.nbytes
        part, _, rest = key.partition("/")
        if part == "similarity":
            similarity[rest] = array
            continue
        kind, _, rest = rest.partition("/")
        name, size, role = rest.rsplit("/", 2)
        held = getattr(parts[part], kind)
        if role == "bins":
            bins = array
        elif role == "held":
            held[name] = np.zeros(int(size), np.int64)
            held[name][bins] = array
        else:
            held[name] = array
    return Minibatch(overall, local, SimilaritySums.from_arrays(similarity))
