"""A picture to draw on, in coordinates of the frame, whatever they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from multigraft.runtime.drawing.colours import BLACK, WHITE, Colour, ink_on
from multigraft.runtime.drawing.lettering import lettered
from multigraft.runtime.drawing.pillow import pillow
from multigraft.tensors.preprocessing import Frame

if TYPE_CHECKING:
    from PIL.Image import Image

SHORTEST = 320
"""Pixels of the longer side: smaller frames are magnified in whole steps, or no letter would fit on them."""
_BEYOND = 4
"""Points end so many frames beyond the border: lines stay lines, and no polygon is a million pixels high."""
_GAP = 6
MOST_CAPTIONS = 40

Point = Sequence[float]


class Canvas:
    """A frame that is drawn on, and what stands beside it and below.

    Args:
        frame: uint8, height x width, or height x width x 1 or 3; is copied.

    Attributes:
        height: Of the frame, pixels.
        width: Of the frame, pixels.
        scale: Pixels of the picture per pixel of the frame.
    """

    def __init__(self, frame: Frame) -> None:
        self._image_module, self._draw_module, _ = pillow()
        self.height, self.width = frame.shape[:2]
        self.scale = max(1, -(-SHORTEST // max(self.height, self.width, 1)))
        grey = frame[..., 0] if frame.ndim == 3 and frame.shape[2] == 1 else frame
        image = self._image_module.fromarray(np.ascontiguousarray(grey)).convert("RGB")
        if self.scale > 1:
            image = image.resize(self.size, self._image_module.Resampling.NEAREST)
        self._image: Any = image
        self._draw: Any = self._draw_module.Draw(image)
        longer = max(self.size)
        self.line = max(2, round(longer / 320))
        self.letters = max(12, min(round(longer / 42), 96))
        self._captions: list[tuple[str, Colour]] = []
        self._panels: list[Any] = []

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frame in pixels of the picture."""
        return self.width * self.scale, self.height * self.scale

    def tint(self, colours: Frame, shares: Frame) -> None:
        """Lay colours over the frame.

        Args:
            colours: (height, width, 3) of any size; it is stretched over the frame.
            shares: (height, width): 0 leaves the frame, 255 hides it.
        """
        nearest = self._image_module.Resampling.NEAREST
        over = self._image_module.fromarray(colours).resize(self.size, nearest)
        mask = self._image_module.fromarray(shares).resize(self.size, nearest)
        self._image.paste(over, (0, 0), mask)

    def tint_block(self, mask: Any, top: int, left: int, colour: Colour) -> None:
        """Lay a colour over the pixels of a mask (rows, columns of bool) whose first pixel is (top, left)."""
        inner = mask[max(0, -top) : max(0, self.height - top), max(0, -left) : max(0, self.width - left)]
        if not inner.size:
            return
        share = self._image_module.fromarray(inner.astype(np.uint8) * np.uint8(110))
        size = (share.width * self.scale, share.height * self.scale)
        share = share.resize(size, self._image_module.Resampling.NEAREST)
        self._image.paste(colour, (max(0, left) * self.scale, max(0, top) * self.scale), share)

    def lines(self, points: Iterable[Point], colour: Colour, is_closed: bool = False) -> None:
        """Lines from point to point, cased in black; those with a point that is no number are left out."""
        placed = [self._placed(point) for point in points]
        pairs = list(zip(placed, placed[1:] + placed[:1] if is_closed else placed[1:], strict=False))
        for width, ink in ((self.line + 2, BLACK), (self.line, colour)):
            for a, b in pairs:
                if a is not None and b is not None:
                    self._draw.line([a, b], fill=ink, width=width)

    def dot(self, point: Point, colour: Colour) -> None:
        """A point, cased in black."""
        placed = self._placed(point)
        if placed is not None and all(0 <= v <= limit for v, limit in zip(placed, self.size, strict=True)):
            radius = self.line + 1
            corners = [placed[0] - radius, placed[1] - radius, placed[0] + radius, placed[1] + radius]
            self._draw.ellipse(corners, fill=colour, outline=BLACK)

    def label(self, text: str, point: Point, colour: Colour, below: bool = False) -> None:
        """Text on a ground of ``colour``, above (or below) a point, moved as far as it has to be to be seen."""
        placed = self._placed(point)
        if placed is None or not text:
            return
        shown, font = lettered(text, self.letters)
        left, top, right, bottom = self._draw.textbbox((0, 0), shown, font=font)
        width, height = right - left + 6, bottom - top + 6
        x = max(0.0, min(placed[0], self.size[0] - width))
        y = max(0.0, min(placed[1] if below else placed[1] - height, self.size[1] - height))
        self._draw.rectangle([x, y, x + width, y + height], fill=colour)
        self._draw.text((x + 3 - left, y + 3 - top), shown, font=font, fill=ink_on(colour))

    def caption(self, text: str, colour: Colour = WHITE) -> None:
        """A line below the frame."""
        if len(self._captions) < MOST_CAPTIONS:
            self._captions.append((text, colour))

    def panel(self, colours: Frame, scale: Frame, least: str, most: str) -> None:
        """A picture beside the frame, with its scale of colours.

        Args:
            colours: (height, width, 3) of any size; it is stretched to the frame's.
            scale: (n, 1, 3), from the least to the most.
            least: What stands at the lower end.
            most: What stands at the upper end.
        """
        nearest = self._image_module.Resampling.NEAREST
        inner = self._image_module.fromarray(colours).resize(self.size, nearest)
        bar = self._image_module.fromarray(np.ascontiguousarray(scale[::-1]))
        texts = [lettered(text, self.letters) for text in (most, least)]
        widest = max(math.ceil(self._draw.textlength(shown, font=font)) for shown, font in texts)
        panel = self._image_module.new("RGB", (inner.width + 3 * _GAP + self.letters + widest, inner.height), BLACK)
        panel.paste(inner, (0, 0))
        panel.paste(bar.resize((self.letters, inner.height), nearest), (inner.width + _GAP, 0))
        draw = self._draw_module.Draw(panel)
        for (shown, font), y in zip(texts, (0, max(0, inner.height - self.letters - 4)), strict=True):
            draw.text((inner.width + 2 * _GAP + self.letters, y), shown, font=font, fill=WHITE)
        self._panels.append(panel)

    def finished(self) -> Image:
        """The picture with all that stands around it, RGB."""
        width = self._image.width + sum(_GAP + panel.width for panel in self._panels)
        row = self.letters + 8
        image = self._image_module.new("RGB", (width, self._image.height + row * len(self._captions)), BLACK)
        image.paste(self._image, (0, 0))
        x = self._image.width
        for panel in self._panels:
            image.paste(panel, (x + _GAP, 0))
            x += _GAP + panel.width
        draw = self._draw_module.Draw(image)
        for number, (text, colour) in enumerate(self._captions):
            y = self._image.height + row * number
            draw.rectangle([0, y + 1, row // 2, y + row - 2], fill=colour)
            shown, font = lettered(text, self.letters)
            draw.text((row // 2 + _GAP, y + 2), shown, font=font, fill=WHITE)
        result: Image = image
        return result

    def _placed(self, point: Point) -> tuple[float, float] | None:
        x, y = float(point[0]), float(point[1])
        if not (math.isfinite(x) and math.isfinite(y)):
            return None
        limit = _BEYOND * max(self.width, self.height)
        return max(-limit, min(x, limit)) * self.scale, max(-limit, min(y, limit)) * self.scale
