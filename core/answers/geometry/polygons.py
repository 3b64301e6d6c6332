"""Outlines: the hull of points, and the smallest rectangle around it."""

from __future__ import annotations

import numpy as np

from multigraft.tensors.arrays import Float64Array


def convex_hull(points: Float64Array) -> Float64Array:
    """Corners of the convex hull, in order around it (clockwise where y points down), without those on its edges.

    Andrew's monotone chain (1979).

    Args:
        points: (n, 2), finite, n of 1 or more.
    """
    ordered = np.unique(points, axis=0)
    if len(ordered) < 3:
        return ordered
    rows = [(x, y) for x, y in ordered.tolist()]
    lower, upper = _chain(rows), _chain(rows[::-1])
    return np.array(lower[:-1] + upper[:-1])


def _chain(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    chain: list[tuple[float, float]] = []
    for x, y in points:
        while len(chain) > 1:
            (ax, ay), (bx, by) = chain[-2], chain[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain


def smallest_rectangle(points: Float64Array) -> tuple[Float64Array, Float64Array]:
    """The rectangle of the smallest area around points: one of its sides lies on a side of their hull.

    Source: Freeman and Shapira, "Determining the minimum-area encasing rectangle", 1975.

    Args:
        points: (n, 2), finite, n of 1 or more.

    Returns:
        (4, 2) corners in order around it, and (2,) the lengths of its first and second side; points in a row have a
        rectangle of no area.
    """
    hull = convex_hull(points)
    sides = np.roll(hull, -1, axis=0) - hull
    lengths = np.hypot(sides[:, 0], sides[:, 1])
    if not lengths.any():
        return np.repeat(hull[:1], 4, axis=0), np.zeros(2)
    along = sides[lengths > 0] / lengths[lengths > 0, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    u, v = hull @ along.T, hull @ across.T
    left, right, low, high = u.min(axis=0), u.max(axis=0), v.min(axis=0), v.max(axis=0)
    best = int(((right - left) * (high - low)).argmin())
    corners = np.array(
        [
            [left[best], low[best]],
            [right[best], low[best]],
            [right[best], high[best]],
            [left[best], high[best]],
        ]
    )
    axes = np.stack([along[best], across[best]])
    return corners @ axes, np.array([right[best] - left[best], high[best] - low[best]])
