"""Ten tasks on one trunk: the demo's garments, a network that was tuned as a whole, and eight heads and blocks of ours.

``python -m tests.benchmarks ten-tasks``: the relatives are tuned in numpy on the first half of the demo's labelled
frames; accuracy is of the second. What ``multigraft build`` prints of weights, latency and memory is of this machine.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx

from multigraft.cli.main import main as multigraft
from multigraft.converters.demo.data import demo_folder
from tests.benchmarks.demo_networks import demo_task
from tests.benchmarks.family.members import LAYER_OF_GARMENT, TUNED_ON
from tests.benchmarks.family.tuning import Degree, tuned

TASKS: dict[str, tuple[Degree, tuple[int, ...]]] = {
    "layer": ("head", LAYER_OF_GARMENT),
    "warm": ("head", (0, 0, 1, 0, 1, 0, 0, 0, 0, 1)),
    "formal": ("head", (0, 1, 0, 1, 1, 1, 1, 0, 0, 0)),
    "sleeves": ("head", (1, 0, 2, 1, 2, 0, 2, 0, 0, 0)),
    "pair": ("head", (0, 0, 0, 0, 0, 1, 0, 1, 0, 1)),
    "opens": ("block", (0, 0, 0, 0, 1, 0, 1, 0, 0, 0)),
    "upper": ("block", (1, 0, 2, 0, 3, 0, 4, 0, 0, 0)),
    "shoe": ("block", (0, 0, 0, 0, 0, 1, 0, 2, 0, 3)),
}
"""Task to what is tuned for it, and the class of each garment."""

SETTINGS = """
frames = "frames.npz"

[bundle]
name = "ten"

[budget]
min_agreement = 0.97
"""
TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "classification"
labelled = "labelled.npz"
preprocessing = {{ size = [28, 28], color = "grey", mean = 72.93, scale = {scale} }}
"""


def show(folder: Path) -> None:
    """Tune, build, and print what the build says of it, measured with all tasks on every frame."""
    write(folder)
    settings = str(folder / "multigraft.toml")
    multigraft(["build", settings, "-o", str(folder / "ten.graft"), "--report-dir", str(folder / "report")])


def write(folder: Path) -> None:
    """The networks, frames and settings."""
    garment, worn = demo_task("garment"), demo_task("worn")
    labels = {"garment": garment.labelled.labels, "worn": worn.labelled.labels}
    for name in labels:
        shutil.copy(demo_folder() / "networks" / f"{name}.onnx", folder)
    for name, (degree, meaning) in TASKS.items():
        labels[name] = np.array(meaning, np.int64)[garment.labelled.labels]
        frames = garment.labelled.frames[:TUNED_ON]
        onnx.save(tuned(garment.network, degree, frames, labels[name][:TUNED_ON], seed=0), folder / f"{name}.onnx")
    held = {name: of_task[TUNED_ON:] for name, of_task in labels.items()}
    np.savez(folder / "labelled.npz", frames=np.array(garment.labelled.frames[TUNED_ON:]), **held)
    shutil.copy(demo_folder() / "garments.npz", folder / "frames.npz")
    # Tuned networks came through the importer, which folds the scale into the first layer but for 1 / 255.
    scales = {name: 1 / 255 if name in TASKS else 0.011109259568 for name in labels}
    tasks = "".join(TASK.format(name=name, scale=scale) for name, scale in scales.items())
    (folder / "multigraft.toml").write_text(SETTINGS + tasks, "utf-8")
