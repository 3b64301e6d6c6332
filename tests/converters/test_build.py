"""The first half of the job with checkpoints: what an interrupted build may take over, and what it has to do again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from multigraft.cli.shared.settings_options import load_frames
from multigraft.converters.build import Grafted, graft
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.settings.settings import Settings
from tests.converters.graft.networks import frames, perturbed, residual_network

TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "regression"
tolerance = 0.5
[task.preprocessing]
size = [8, 8]
color = "grey"
scale = 0.004
"""
HEAD = 'frames = "frames.npy"\n[bundle]\nname = "pair"\n[budget]\nmin_agreement = 0.9\n'
GRAFT = '[graft]\nfit_frames = 64\nseed = 0\nshare = { second = "stem" }\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    onnx.save(residual_network("first", 1).model, tmp_path / "first.onnx")
    onnx.save(residual_network("second", 2).model, tmp_path / "second.onnx")
    np.save(tmp_path / "frames.npy", np.stack(frames(192)))
    text = HEAD + GRAFT + "".join(TASK.format(name=name) for name in ("first", "second"))
    (tmp_path / "multigraft.toml").write_text(text, "utf-8")
    return tmp_path


def grafted(project: Path) -> tuple[Grafted, Checkpoints]:
    checkpoints = Checkpoints(project / "pair.graft.steps")
    return graft(Settings.load(project / "multigraft.toml"), load_frames, checkpoints=checkpoints), checkpoints


def written(old: str, new: str) -> Callable[[Path], None]:
    """Changes the settings."""

    def change(project: Path) -> None:
        path = project / "multigraft.toml"
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")

    return change


def another_frame(index: int) -> Callable[[Path], None]:
    def change(project: Path) -> None:
        given = np.load(project / "frames.npy")
        given[index, 0, 0] ^= 1
        np.save(project / "frames.npy", given)

    return change


def other_weights(project: Path) -> None:
    onnx.save(perturbed(residual_network("second", 2), "second", 0.01).model, project / "second.onnx")


def nothing(project: Path) -> None:
    """A build that is only started again."""


STEPS = {"similarity", "graft"}


@pytest.mark.parametrize(
    ("change", "done_again"),
    [
        pytest.param(nothing, set(), id="nothing"),
        pytest.param(other_weights, STEPS, id="weights"),
        pytest.param(another_frame(0), STEPS, id="a frame to fit"),
        pytest.param(another_frame(64), {"graft"}, id="a frame that chooses"),
        pytest.param(another_frame(-1), set(), id="a frame that proves"),
        pytest.param(written("scale = 0.004", "scale = 0.005"), STEPS, id="preprocessing"),
        pytest.param(written("seed = 0", "seed = 1"), STEPS, id="seed"),
        pytest.param(written("fit_frames = 64", "fit_frames = 63"), STEPS, id="number of frames"),
        pytest.param(written("tolerance = 0.5", "tolerance = 0.4"), {"graft"}, id="tolerance"),
        pytest.param(written("[graft]", "confidence = 0.9\n[graft]"), {"graft"}, id="confidence"),
        pytest.param(written('kind = "regression"\ntolerance = 0.5', 'kind = "classification"'), STEPS, id="kind"),
        pytest.param(written('second = "stem"', 'second = "block"'), {"graft"}, id="share point"),
        pytest.param(written("min_agreement = 0.9", "min_agreement = 0.8"), set(), id="budget"),
        pytest.param(written('name = "pair"', 'name = "couple"'), set(), id="name of the bundle"),
    ],
)
def test_a_build_goes_on_with_what_its_settings_and_files_still_decide(
    project: Path, change: Callable[[Path], None], done_again: set[str]
) -> None:
    before, checkpoints = grafted(project)
    stored = {path.name for path in checkpoints.folder.iterdir()}
    assert {name.partition("-")[0] for name in stored} == STEPS and checkpoints.reused == 0
    change(project)
    after, checkpoints = grafted(project)
    added = {path.name for path in checkpoints.folder.iterdir()} - stored
    assert {name.partition("-")[0] for name in added} == done_again
    if not done_again:
        assert checkpoints.reused == len(stored)
        assert after.multitask.model.SerializeToString() == before.multitask.model.SerializeToString()


def test_what_a_build_warned_of_is_kept_with_it(project: Path) -> None:
    assert grafted(project)[0].warnings == ()
    written("scale = 0.004", "mean = 0.5\nscale = 0.004")(project)
    (first, second) = grafted(project)[0].warnings
    assert first.startswith("the mean of first is 0.5") and second.startswith("the mean of second is 0.5")
