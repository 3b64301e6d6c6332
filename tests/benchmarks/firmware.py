"""Firmware on emulated boards: instructions, flash and RAM, and bit-exactness on 500 inputs per core.

MULTIGRAFT_MODELS names a folder of further int8 .tflite files; those of MLPerf Tiny have figures to compare with.
"""

from __future__ import annotations

from pathlib import Path

from tests.firmware_gen import batch, benchmark
from tests.firmware_gen.models import residual
from tests.firmware_gen.test_machine_code import MODELS

INPUTS = 500


def show(folder: Path) -> None:
    """Print the tables."""
    built = folder / "residual.tflite"
    built.write_bytes(residual())
    models = [built, *MODELS]
    for board in batch.BOARD_OF_CORE.values():
        benchmark.show(models, board)
    batch.show(models, list(batch.BOARD_OF_CORE.values()), INPUTS)
