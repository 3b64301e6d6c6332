"""Images in a folder, in the order of their names."""

from __future__ import annotations

import functools
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from multigraft.devices.file_sources import MAC_PREFIX, SourceWithoutDevice
from multigraft.errors import InputError, MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair
from multigraft.reading import regular_file, unreadable
from multigraft.tensors.preprocessing import Frame

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".webp", ".tif", ".tiff")
"""What counts as an image; other files in the folder are left alone."""
MOST_PIXELS = 64 << 20
"""Of an image: what a camera of today gives; decoded it takes three bytes each."""
FREE_PIXELS = 12 << 20
MOST_PIXELS_PER_BYTE = 400
"""Beyond so many pixels an image has to have a byte for so many of them, as the best PNG and JPEG files have: others
decode to gigabytes that a few bytes claim."""
_STRIP = 1 << 20
"""Pixels that are scaled at a time."""
_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "GIF", "PPM", "WEBP", "TIFF")


class ImageFolder(SourceWithoutDevice):
    """Camera adapter: decodes one image at a time with Pillow, turned upright as its EXIF orientation says.

    Images with one channel (mode L, 1, I, F) come as grey frames, all others as RGB; transparency is dropped. Those of
    16 or 32 bits are scaled to 8. A Mac's ``._NAME.png`` beside ``NAME.png`` is no image, and is left out.

    Attributes:
        files: The images, in order.
        skipped: How many of a Mac's files were left out.

    Args:
        path: A folder with images (not its subfolders), or a single image.

    Raises:
        InputError: There is no such folder, or no image in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self.files: tuple[Path, ...] = (self._path,)
        self.skipped = 0
        try:
            if self._path.is_file():
                return
            if not self._path.is_dir():
                raise InputError(f"{path} does not exist", "check the path")
            found = sorted(p for p in self._path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        except PermissionError as error:
            raise unreadable(Path(error.filename or self._path), error) from error
        self.files = tuple(p for p in found if not p.name.startswith(MAC_PREFIX))
        self.skipped = len(found) - len(self.files)
        if not self.files:
            raise InputError(f"{path} holds no images", f"put in files of type {', '.join(SUFFIXES)}")

    @property
    def name(self) -> str:
        left_out = f" (without {self.skipped} of a Mac's {MAC_PREFIX} files)" if self.skipped else ""
        return f"images in {self._path}{left_out}"

    def __enter__(self) -> Self:
        _pillow()
        return super().__enter__()

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Frame]:
        return map(read_image, self.files)


def read_image(path: Path) -> Frame:
    """Decode one image file: uint8, HxW where it has one channel, otherwise HxWx3 RGB.

    Raises:
        InputError: It is not an image, or truncated.
        MissingDependencyError: Pillow is not installed.
    """
    image_module, ops = _pillow()
    try:
        # Only formats that Pillow decodes itself: it hands others to programs such as Ghostscript.
        with regular_file(path) as file, image_module.open(file, formats=_formats()) as image:
            if image.width * image.height > MOST_PIXELS:
                raise InputError(
                    f"{path} has {image.width} x {image.height} pixels, more than {MOST_PIXELS >> 20} million",
                    "export it smaller",
                )
            size = file.seek(0, os.SEEK_END)
            if image.width * image.height > max(FREE_PIXELS, MOST_PIXELS_PER_BYTE * size):
                raise InputError(
                    f"{path} claims {image.width} x {image.height} pixels in {size} bytes", "export it again"
                )
            upright = ops.exif_transpose(image)
            if upright.mode.startswith("I;16"):
                return (np.asarray(upright).astype(np.uint16) >> 8).astype(np.uint8)
            if upright.mode in ("I", "F"):
                return _eight_bits(np.asarray(upright))
            grey = upright.mode in ("1", "L", "LA")
            wanted = "L" if grey else "RGB"
            return np.array(upright if upright.mode == wanted else upright.convert(wanted))
    except InputError:
        raise
    except (
        OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, KeyError, OverflowError, struct.error,
        zlib.error, image_module.DecompressionBombError, image_module.DecompressionBombWarning,
    ) as error:  # fmt: skip
        # Pillow raises SyntaxError for damaged PNG files, and others from within its decoders.
        raise InputError(f"{path} is not a readable image ({error})", "remove it or export it again") from error


def _eight_bits(pixels: npt.NDArray[np.int32] | npt.NDArray[np.float32]) -> Frame:
    """Scale by the range that holds the brightest pixel: 0..1 (floats), 8, 16 or 32 bits; what is below 0 is black."""
    rows = max(1, _STRIP // max(1, pixels.shape[1]))
    strips = [slice(at, at + rows) for at in range(0, len(pixels), rows)]
    brightest = max((_above_black(pixels[strip]).max(initial=0) for strip in strips), default=0.0)
    ranges = (*((1.0,) if pixels.dtype.kind == "f" else ()), 255.0, 65535.0, 2147483647.0)
    whole = next((r for r in ranges if brightest <= r), brightest)
    scaled: Frame = np.empty(pixels.shape, np.uint8)
    for strip in strips:
        scaled[strip] = np.rint(_above_black(pixels[strip]) * (255 / whole))
    return scaled


def _above_black(pixels: npt.NDArray[np.int32] | npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.clip(np.nan_to_num(pixels.astype(np.float64), posinf=0, neginf=0), 0, None)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of :data:`_FORMATS` that this Pillow decodes; it fails over one that it does not know."""
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except Exception as error:
        raise MissingDependencyError(
            f"reading images needs Pillow, which is {how_missing(error)}", repair(error, install_extra("images"))
        ) from error
    return Image, ImageOps
