"""What a figure was measured on."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from multigraft.cores import usable_cores
from multigraft.runtime.backends import Backend


@dataclass(frozen=True)
class Machine:
    """Names of board, processor and software, and how many cores this process may use."""

    board: str
    processor: str
    architecture: str
    cores: int
    interpreter: str
    python: str
    numpy: str

    @classmethod
    def here(cls, backend: Backend) -> Machine:
        """This machine, running ``backend``."""
        return cls(
            board=_text(Path("/proc/device-tree/model")) or _text(Path("/sys/class/dmi/id/product_name")),
            processor=_processor(),
            architecture=platform.machine(),
            cores=usable_cores(),
            interpreter=str(backend),
            python=platform.python_version(),
            numpy=np.__version__,
        )

    def to_json(self) -> dict[str, str | int]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        where = f"{self.board}, " if self.board else ""
        return f"{where}{self.processor} ({self.architecture}), {self.cores} cores, {self.interpreter}"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""


def _processor() -> str:
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Hardware"):
            return value.strip()
    return platform.processor() or "unknown processor"
