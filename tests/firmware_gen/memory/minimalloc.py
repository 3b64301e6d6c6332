"""The file format of the MiniMalloc benchmark (ASPLOS 2024): id, lower, upper, size per buffer, in use from step
``lower`` to before ``upper``; the file's name holds the bytes everything has to fit into, as in ``B.1048576.csv``.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from multigraft.firmware_gen.memory.planner import Buffer

CAPACITY = 1 << 20


def read(text: str) -> list[Buffer]:
    """The buffers of a file; the older heading (buffer, start, end) is read as well."""
    rows = list(csv.reader(io.StringIO(text)))[1:]
    return [Buffer(name, int(size), int(lower), int(upper) - 1) for name, lower, upper, size in rows]


def capacity_of(path: Path) -> int:
    """The bytes in a file's name."""
    return int(path.stem.rpartition(".")[2])


def made(seed: int, count: int, granule: int = 1024) -> str:
    """A file of ``count`` buffers that fill CAPACITY at every step without a gap, so that only a perfect plan fits.

    A rectangle of time and memory is cut in two again and again, along either axis.
    """
    random = np.random.default_rng(seed)
    pieces = [(0, CAPACITY, 0, CAPACITY)]
    while len(pieces) < count:
        areas = np.array([(end - start) * (top - low) for start, end, low, top in pieces], float)
        start, end, low, top = pieces.pop(int(random.choice(len(pieces), p=areas / areas.sum())))
        across_time = bool(random.integers(2))
        low_end, high_end = (start, end) if across_time else (low, top)
        if high_end - low_end < 4 * granule:
            pieces.append((start, end, low, top))
            continue
        span = (high_end - low_end) // granule
        cut = low_end + granule * int(random.integers(1 + span // 8, span - span // 8))
        if across_time:
            pieces += [(start, cut, low, top), (cut, end, low, top)]
        else:
            pieces += [(start, end, low, cut), (start, end, cut, top)]
    order = random.permutation(len(pieces))
    lines = [f"{i},{pieces[k][0]},{pieces[k][1]},{pieces[k][3] - pieces[k][2]}" for i, k in enumerate(order)]
    return "\n".join(["id,lower,upper,size", *lines, ""])
