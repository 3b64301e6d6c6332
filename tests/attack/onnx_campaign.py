"""Mutants of ONNX files through ``multigraft check`` and the reader that a build has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from multigraft.converters.importing.check import check
from multigraft.converters.importing.importer import load_network
from tests.attack.onnx_seeds import write_weights


def opened(folder: Path) -> Callable[[bytes], object]:
    """What reads a mutant; ``folder`` is written to."""
    write_weights(folder)
    path = folder / "mutant.onnx"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        check(str(path))
        load_network(path)

    return run
