"""The demo's network of bits as a whole against int8 and float32, on every interpreter: paired, one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from multigraft.cli.shared.settings_options import load_frames
from multigraft.converters.conversion.interpreters import MAIN, Runner, available, version_of
from multigraft.converters.conversion.work_folder import work_folder
from multigraft.converters.demo.data import demo_folder
from multigraft.converters.importing.importer import load_task
from multigraft.converters.packing.convert import convert
from multigraft.converters.quantising.precisions import Precision
from multigraft.converters.settings.settings import Settings
from multigraft.converters.standing import alone
from multigraft.tflite import tflite_file

ROUNDS = 300
PRECISIONS: tuple[Precision, ...] = ("binary", "binary-int8", "int8", "float32")


def _run(model: bytes, backend: str) -> Callable[[], object]:
    tensor = (graph := tflite_file.read(model).main).tensors[graph.inputs[0]]
    runner, value = Runner(model, backend), np.zeros(tensor.shape, tensor.dtype)
    return lambda: runner({tensor.name: value}, MAIN)


def _us(run: Callable[[], object]) -> float:
    begin = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - begin) / 1000


def show(folder: Path) -> None:
    """Print bytes, microseconds, and how often the binary network goes into the others' time."""
    settings = Settings.load(demo_folder() / "binary.toml")
    (task,) = settings.tasks
    model = alone(load_task(task, demo_folder()))
    path = settings.frames_of(task)
    assert path is not None
    frames = load_frames(path)[:64]
    models = {}
    for precision in PRECISIONS:
        with work_folder() as work:
            feeds = dict.fromkeys(model.inputs, frames)
            models[precision] = convert(model, feeds, precision=precision, name="digit", work_dir=work).uncut_model
    print(f"\nThe demo's digit network of bits, whole, one thread, medians of {ROUNDS} paired rounds")
    for backend in available():
        runs = {precision: _run(content, backend) for precision, content in models.items()}
        for run in runs.values():
            run()
        times = np.array([[_us(run) for run in runs.values()] for _ in range(ROUNDS)])
        for place, precision in enumerate(runs):
            ratios = ", ".join(
                f"{np.median(times[:, other] / times[:, place]):.1f} times {name}"
                for other, name in enumerate(runs)
                if other != place
            )
            print(
                f"{backend} {version_of(backend)}  {precision:12}{len(models[precision]):8,} bytes"
                f"{np.median(times[:, place]):8.1f} us, which goes into {ratios}"
            )
