"""The port to what writes images into a board's flash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

FlashProgress = Callable[[float, str], None]
"""Called with the fraction done, 0.0 to 1.0, and what is being done."""


@dataclass(frozen=True)
class FlashJob:
    """What to write where.

    Args:
        image: File in the flasher's format.
        target: What the tool calls the chip.
        port: Serial port, or None if the tool finds the board on its own.
        chip_id: What the chip has to say it is; 0 if it cannot be asked.
        base: Address of the first byte of a raw binary.
        chip_register: Address where the chip says what it is; 0 if the tool asks by itself.
    """

    image: Path
    target: str
    port: str | None = None
    chip_id: int = 0
    base: int = 0
    chip_register: int = 0


@runtime_checkable
class Flasher(Protocol):
    """Writes an image and verifies that it is there.

    Attributes:
        name: The method.
        suffix: Suffix of the image files it takes.
        needs_port: It talks over a serial port that has to be named.
    """

    @property
    def name(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    @property
    def needs_port(self) -> bool: ...

    def commands(self, job: FlashJob) -> list[list[str]]:
        """Exactly what :meth:`flash` runs, in order, as argument lists; nothing is run."""
        ...

    def flash(self, job: FlashJob, progress: FlashProgress) -> None:
        """Check the chip, write, verify.

        Raises:
            DeviceError: Another chip answers, nothing answers, or what is in the flash afterwards differs.
            MissingDependencyError: The tool is not installed.
            InputError: The image is none for this board.
        """
        ...
