"""A bundle of one task with a gate, built from frames as users have it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from multigraft.cli.main import main
from tests.converters.graft.networks import residual_network
from tests.core.cli.build_project import write_project


def gated(folder: Path, kind: Literal["change", "far"], allowed: float, pictures: npt.ArrayLike) -> Path:
    """Build it, with a promise of ``allowed``, and return its file; the task is called ``first``."""
    rest = "[budget]\nmin_agreement = 0.8\n[graft]\nfit_frames = 300\n"
    more = f'gate = {{ kind = "{kind}", max_disagreement = {allowed} }}'
    settings = write_project(folder, residual_network("first", 1), rest=rest, more=more)
    np.save(folder / "frames.npy", pictures)
    assert main(["build", str(settings), "-o", str(folder / "gated.graft"), "--allow-miss"]) == 0
    return folder / "gated.graft"
