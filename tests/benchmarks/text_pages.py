"""Made-up pages of text, for judges that read: many fonts, sizes and colours, turned lines, noise, uneven light."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from multigraft.tensors.arrays import Array

_SENTENCE = (
    "the quick brown Fox jumps over 13 lazy dogs; Invoice No. 48213 Total: 99.50 EUR Exit Platform 7 Speed limit "
    "WARNING High voltage do not touch www.example.org call 555-0199 Room B12 open 9-17h closed Sunday 25% off A4 "
    "paper Kitchen Bath harbour lamp quiet seven violet river orange 2048 Tuesday copper garden window"
)

WORDS = tuple(_SENTENCE.split(" "))

_SKIPPED = ("Math", "LastResort", "STIX", "cmex", "cmsy", "cmmi", "Display", "fontawesome")


def fonts() -> list[Path]:
    """Latin fonts that matplotlib brings along, and DejaVu of the system."""
    import matplotlib

    places = [Path(matplotlib.get_data_path()) / "fonts" / "ttf", Path("/usr/share/fonts/truetype/dejavu")]
    found = {f.name: f for place in places for f in sorted(place.glob("*.ttf"))}
    return [f for name, f in sorted(found.items()) if not any(word in name for word in _SKIPPED)]


def page(seed: int, known: Sequence[Path], size: tuple[int, int] = (640, 480)) -> Array:
    """One page.

    Args:
        seed: Another one gives another page.
        known: Fonts to choose from.
        size: Width and height, pixels.

    Returns:
        uint8, height x width x 3, RGB.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    is_dark = rng.random() < 0.3
    paper = rng.integers(0, 90, 3) if is_dark else rng.integers(150, 256, 3)
    light = _uneven_light(rng, width, height) if rng.random() < 0.5 else np.ones((height, width, 1))
    picture = Image.fromarray(np.clip(paper * light, 0, 255).astype(np.uint8))
    top = int(rng.integers(5, 30))
    while top < height - 45:
        font = ImageFont.truetype(known[rng.integers(len(known))], int(rng.integers(15, 40)))
        text = " ".join(rng.choice(WORDS, int(rng.integers(1, 5))))
        left, upper, right, lower = font.getbbox(text)
        layer = Image.new("L", (int(right - left) + 8, int(lower - upper) + 8), 0)
        ImageDraw.Draw(layer).text((4 - left, 4 - upper), text, font=font, fill=255)
        if rng.random() < 0.4:
            layer = layer.rotate(float(rng.uniform(-12, 12)), expand=True, resample=Image.Resampling.BICUBIC)
        room = width - layer.width - 4
        if room < 2 or top + layer.height > height - 3:
            top += 12
            continue
        ink = np.clip(255 - paper + rng.integers(-40, 41, 3), 0, 255)
        picture.paste(tuple(int(v) for v in ink), (int(rng.integers(2, room + 1)), top), layer)
        top += layer.height + int(rng.integers(3, 30))
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.9))))
    pixels = np.asarray(picture).astype(np.float64)
    if rng.random() < 0.5:
        pixels += rng.normal(0, rng.uniform(2, 8), pixels.shape)
    made: Array = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return made


def _uneven_light(rng: np.random.Generator, width: int, height: int) -> np.typing.NDArray[np.float64]:
    """From one side to the other, and grain of paper, about 1."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height) - 0.5
    slope = rng.uniform(-0.3, 0.3, 2)
    coarse = rng.normal(0, 0.05, (height // 16 + 1, width // 16 + 1))
    grain = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    light: np.typing.NDArray[np.float64] = (1 + slope[0] * x + slope[1] * y + grain)[:, :, None]
    return light
