"""Masks as COCO's compressed run lengths.

Runs of 0 and 1 in turn, column by column, the first of 0. From the fourth on the difference to the run two before is
written; each number as groups of 5 bits, the lowest first, a sixth bit for "more follows", all plus 48 as a character.
Source: the format as cocoapi's common/maskApi.c describes it (rleToString).
"""

from __future__ import annotations

import numpy as np

from multigraft.answers.masks import Mask

_FEWEST_DIFFERENCES = 3


def run_lengths(mask: Mask, top: int, left: int, height: int, width: int) -> list[int]:
    """Runs of a picture of ``height`` x ``width`` whose only pixels are those of ``mask`` with (top, left) first.

    Args:
        mask: (rows, columns) of bool; what lies beyond the picture is left out.
        top: Row of the picture.
        left: Column of the picture.
        height: Of the picture.
        width: Of the picture.
    """
    inner = mask[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    top, left = max(0, top), max(0, left)
    edges = np.diff(np.pad(inner.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    ends = []
    for step in (1, -1):
        columns, rows = np.nonzero(edges == step)
        ends.append((columns + left) * height + rows + top)
    starts, stops = ends
    # A run that reaches the lower border goes on in the next column.
    is_joined = starts[1:] == stops[:-1]
    starts = starts[np.concatenate([[True], ~is_joined])] if len(starts) else starts
    stops = stops[np.concatenate([~is_joined, [True]])] if len(stops) else stops
    borders = np.stack([starts, stops], axis=1).reshape(-1)
    lengths: list[int] = np.diff(np.concatenate([[0], borders, [height * width]])).tolist()
    if len(lengths) > 1 and lengths[-1] == 0:
        lengths.pop()
    return lengths


def compressed(lengths: list[int]) -> str:
    """Runs as COCO writes them."""
    text = []
    for number, length in enumerate(lengths):
        left = length - (lengths[number - 2] if number >= _FEWEST_DIFFERENCES else 0)
        while True:
            bits = left & 31
            left >>= 5
            is_last = left == (-1 if bits & 16 else 0)
            text.append(chr(48 + bits + (0 if is_last else 32)))
            if is_last:
                break
    return "".join(text)
