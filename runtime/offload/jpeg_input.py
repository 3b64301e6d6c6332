"""A frame as a server would see it that is sent JPEG files.

No standard ONNX model decodes one (onnxruntime 1.32 does not implement ImageDecoder), so this is for comparing: what
JPEG would cost in bytes and in answers, with a server that has a decoder of its own.
"""

from __future__ import annotations

import io

import numpy as np

from multigraft.errors import MissingDependencyError, UsageError
from multigraft.installing import how_missing, install_extra, repair
from multigraft.tensors.preparation import Frame

QUALITIES = (95, 75, 50)


def through_jpeg(frame: Frame, quality: int) -> tuple[Frame, int]:
    """The frame after coding and decoding, of the same shape, and the bytes of the file.

    Args:
        frame: uint8, height x width or height x width x 3.
        quality: As libjpeg has it, 1 to 95.

    Raises:
        UsageError: The frame is a row of numbers.
        MissingDependencyError: Pillow is not installed.
    """
    if frame.dtype != np.uint8 or not (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)):
        raise UsageError("rows of numbers are sent as no JPEG", "leave policies that begin with send-jpeg out")
    try:
        from PIL import Image
    except Exception as error:
        raise MissingDependencyError(
            f"JPEG needs Pillow, which is {how_missing(error)}", repair(error, install_extra("images"))
        ) from error
    coded = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(coded, "JPEG", quality=quality)
    size = len(coded.getvalue())
    with Image.open(coded) as shown:
        return np.asarray(shown), size
