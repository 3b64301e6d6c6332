"""How many frames fit and how many are held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.converters.graft.evidence import split
from multigraft.converters.settings.settings import Settings
from multigraft.errors import InputError

TEXT = """\
frames = "frames.npy"
[bundle]
name = "pair"
[budget]
min_agreement = 0.8
[[task]]
name = "one"
model = "one.onnx"
kind = "classification"
preprocessing = { size = [4, 4], color = "grey" }
"""


@pytest.mark.parametrize(
    ("count", "fit", "accept"), [(512, 384, 128), (2048, 512, 1536), (100, 75, 25), (30, 16, 14), (40, 26, 14)]
)
def test_a_quarter_is_held_out_where_there_are_many_frames(tmp_path: Path, count: int, fit: int, accept: int) -> None:
    evidence = split(list(np.zeros((count, 4, 4), np.uint8)), loaded(tmp_path), tmp_path / "frames.npy")
    assert (len(evidence.fit), len(evidence.accept)) == (fit, accept)


def test_too_few_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes 14 held-out frames"):
        split(list(np.zeros((29, 4, 4), np.uint8)), loaded(tmp_path), tmp_path / "frames.npy")


def loaded(folder: Path) -> Settings:
    (folder / "one.onnx").write_bytes(b"x")
    np.save(folder / "frames.npy", np.zeros((1, 4, 4), np.uint8))
    (folder / "multigraft.toml").write_text(TEXT, "utf-8")
    return Settings.read(folder / "multigraft.toml")
