"""The curve of power as a picture, drawn with Pillow alone, for a device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from multigraft.devices.power.curve import Curve
from multigraft.runtime.drawing.colours import PALETTE, WHITE, Colour
from multigraft.runtime.drawing.lettering import lettered
from multigraft.runtime.drawing.pillow import pillow

WIDTH, HEIGHT = 1200, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 20, 50, 60
_LETTERS = 18
_INK: Colour = (40, 40, 40)
_GRID: Colour = (215, 215, 215)
_WORK: Colour = (250, 232, 200)
_LINE: Colour = PALETTE[4]
_STEPS = 5


def draw_curve(curve: Curve, spans: Sequence[tuple[float, float, bool]], title: str) -> Any:
    """Watts over seconds; windows at work have a coloured ground.

    Args:
        curve: At least one sample.
        spans: Beginning and end of windows in the curve's seconds, and whether they are at work.
        title: Stands above.

    Returns:
        A Pillow image, RGB, 1200 x 480.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    images, drawing, _ = pillow()
    image = images.new("RGB", (WIDTH, HEIGHT), WHITE)
    draw = drawing.Draw(image)
    start_s, end_s = float(curve.times_s[0]), float(curve.times_s[-1])
    length_s = max(end_s - start_s, 1e-9)
    top_w = _round_up(float(curve.power_w.max()) * 1.05 or 1.0)
    inner_w, inner_h = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x_of(moment_s: float) -> float:
        return _LEFT + (moment_s - start_s) / length_s * inner_w

    def y_of(watts: float) -> float:
        return _TOP + inner_h * (1 - watts / top_w)

    for begin, end, is_work in spans:
        if is_work and end > start_s:
            draw.rectangle([x_of(max(begin, start_s)), _TOP, x_of(end), _TOP + inner_h], fill=_WORK)
    for number in range(_STEPS + 1):
        watts, seconds = top_w * number / _STEPS, length_s * number / _STEPS
        draw.line([_LEFT, y_of(watts), WIDTH - _RIGHT, y_of(watts)], fill=_GRID)
        _write(draw, f"{watts:.3g}", (_LEFT - 10, y_of(watts)), "rm")
        _write(draw, f"{seconds:.3g}", (x_of(start_s + seconds), HEIGHT - _BOTTOM + 8), "mt")
    for x, (low, high) in enumerate(_columns(curve, inner_w)):
        if math.isfinite(low):
            draw.line([_LEFT + x, y_of(low), _LEFT + x, min(y_of(high), y_of(low) - 2)], fill=_LINE)
    _write(draw, title, (_LEFT, 14), "lt")
    _write(draw, "W", (_LEFT - 10, 22), "rm")
    _write(draw, "seconds; coloured ground: windows at work", (WIDTH - _RIGHT, HEIGHT - 8), "rb")
    return image


def _columns(curve: Curve, count: int) -> list[tuple[float, float]]:
    """The least and the greatest watts of each column of pixels; between samples, on a straight line."""
    edges = np.linspace(curve.times_s[0], curve.times_s[-1], count + 1)
    at_edges = np.interp(edges, curve.times_s, curve.power_w)
    first = np.searchsorted(curve.times_s, edges)
    found = []
    for column in range(count):
        inside = curve.power_w[first[column] : first[column + 1]]
        values = [*at_edges[column : column + 2], *(inside if len(inside) else ())]
        found.append((float(min(values)), float(max(values))))
    return found


def _round_up(watts: float) -> float:
    """To 1, 2 or 5 times a power of ten, so that the steps are plain numbers."""
    size = 10.0 ** math.floor(math.log10(watts))
    return next(size * step for step in (1, 2, 2.5, 5, 10) if size * step >= watts)


def _write(draw: Any, text: str, point: tuple[float, float], anchor: str) -> None:
    shown, font = lettered(text, _LETTERS)
    draw.text(point, shown, font=font, fill=_INK, anchor=anchor)
