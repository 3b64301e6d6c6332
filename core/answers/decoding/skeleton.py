"""Lines between keypoints that people know."""

from __future__ import annotations

COCO_KEYPOINTS = 17
COCO_EDGES = (
    *(0, 1, 0, 2, 1, 3, 2, 4),
    *(5, 6, 5, 7, 7, 9, 6, 8, 8, 10),
    *(5, 11, 6, 12, 11, 12, 11, 13, 13, 15, 12, 14, 14, 16),
)
"""Of COCO's keypoints (nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right): pairs, one
after the other. Source: COCO's person_keypoints annotations, field ``skeleton``, without the lines from ears to
shoulders."""


def edges_of(keypoints: int) -> tuple[int, ...]:
    """Pairs, one after the other, where the number of keypoints says whose they are; else none."""
    return COCO_EDGES if keypoints == COCO_KEYPOINTS else ()


def pairs_of(edges: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Pairs from numbers one after the other."""
    return tuple(zip(edges[::2], edges[1::2], strict=True))
