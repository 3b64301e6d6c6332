"""Stands in for picamera2 in the container: a camera that can be unplugged and can hang.

A file ``unplugged`` in the folder below lets it fail, ``hanging`` lets it block.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from multigraft.devices.cameras.fake_picamera2 import FakePicamera2

FAULTS = Path("/run/faults")


class Picamera2(FakePicamera2):
    """30 pictures a second."""

    def __init__(self, number: int = 0) -> None:
        _fail()
        super().__init__(number)

    def capture_array(self, name: str = "main") -> Any:
        """A picture, or a fault."""
        _fail()
        time.sleep(1 / 30)
        return super().capture_array(name)


def _fail() -> None:
    if (FAULTS / "unplugged").exists():
        raise RuntimeError("Camera frontend has timed out!")
    while (FAULTS / "hanging").exists():
        time.sleep(0.1)
