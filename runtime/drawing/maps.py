"""Answers that say something of every pixel."""

from __future__ import annotations

import numpy as np

from multigraft.answers.class_map import ClassMap
from multigraft.answers.dense_map import DenseMap
from multigraft.runtime.drawing.canvas import Canvas
from multigraft.runtime.drawing.colours import PALETTE, Colour, colour_of, coloured

_TINT = 120
_MOST_LISTED = 12


def draw_class_map(canvas: Canvas, task: str, found: ClassMap, colour: Colour) -> None:
    """A tint per class, and a legend of the classes that are there by falling number of pixels.

    Class 0 is left as it is where there are two: it is what everything else is.
    """
    classes = found.classes
    if not classes.size:
        canvas.caption(f"{task}: empty", colour)
        return
    numbers, counts = np.unique(classes, return_counts=True)
    is_binary = (not found.labels and int(numbers[-1]) <= 1) or len(found.labels) == 2
    palette = np.array(PALETTE, np.uint8)
    is_tinted = (classes >= 0) & ~(is_binary & (classes == 0))
    canvas.tint(palette[classes % len(palette)], is_tinted.astype(np.uint8) * np.uint8(_TINT))
    listed = [i for i in np.argsort(-counts, kind="stable").tolist() if numbers[i] >= 0]
    for i in listed[:_MOST_LISTED]:
        number = int(numbers[i])
        name = found.labels[number] if number < len(found.labels) else str(number)
        ink = (0, 0, 0) if is_binary and number == 0 else colour_of(number)
        canvas.caption(f"{task}: {name} {counts[i] / classes.size:.0%}", ink)
    if len(listed) > _MOST_LISTED:
        canvas.caption(f"{task}: and {len(listed) - _MOST_LISTED} more", colour)


def draw_dense_map(canvas: Canvas, task: str, found: DenseMap, colour: Colour) -> None:
    """The map in colours beside the frame with its scale; of several channels, the length of their vector."""
    values = found.values.astype(np.float64)
    if not values.size:
        canvas.caption(f"{task}: empty", colour)
        return
    # Squares of the largest float32 are still numbers in float64.
    shown = values[0] if len(values) == 1 else np.sqrt(np.square(values).sum(axis=0))
    finite = shown[np.isfinite(shown)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    shares = ((np.where(np.isfinite(shown), shown, np.nan) - least) / ((most - least) or 1.0)).astype(np.float32)
    scale = coloured(np.linspace(0, 1, 64, dtype=np.float32)[:, None])
    canvas.panel(coloured(shares), scale, f"{least:.3g}", f"{most:.3g}")
    canvas.caption(f"{task}: {least:.3g} to {most:.3g}" + ("" if len(values) == 1 else ", length"), colour)
