"""What is written down of one network: :class:`Row`, and what fills it."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.answers.kind import Kind
from multigraft.converters.conversion.interpreters import PREFERRED, WholeFile
from multigraft.tflite import tflite_file

RUNS = 15
FILE = "row.json"


@dataclass
class Row:
    """What became of one network; None where it did not get so far.

    Attributes:
        name: Of the file.
        size: Channels, height, width of its input.
        parameters: Number.
        outcome: ``through``, or the sentence that ended it.
        steps: Step to wall seconds and CPU seconds, those of child processes included.
        float_error: Largest difference of the float .tflite from onnxruntime on pictures, of the output's range.
        rounding: How far onnxruntime's own answer moves there with the last bit of the input, likewise: what float32
            leaves open. A float error of that size is none of the conversion.
        agreement: Of the int8 bundle with onnxruntime on held-out frames, 0..1; None if no output answers.
        agreement_kind: By which rule.
        sqnr_db: Of the outputs on held-out frames, the worst of those that answer; None if none does.
        noisiest: The layer with the largest error of its own, and that in dB.
        bare: What onnx2tf alone makes of the file: ``right``, ``wrong``, ``refused``, ``does not run``, ``crashes``;
            of a .tflite file, ``as it is``.
        operators: Way to number of operators.
        latency_us: Way to the median on one thread, microseconds.
    """

    name: str
    size: tuple[int, ...] | None = None
    parameters: int | None = None
    outcome: str = ""
    steps: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    float_error: float | None = None
    rounding: float | None = None
    agreement: float | None = None
    agreement_kind: Kind | None = None
    sqnr_db: float | None = None
    noisiest: tuple[str, float] | None = None
    bare: str | None = None
    operators: dict[str, int] = dataclasses.field(default_factory=dict)
    latency_us: dict[str, float] = dataclasses.field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Leave it in ``folder``, for whoever measures in a process of its own."""
        (folder / FILE).write_text(json.dumps(dataclasses.asdict(self)))


class Stopwatch:
    """Writes down the time since the last call, by step."""

    def __init__(self, steps: dict[str, tuple[float, float]]) -> None:
        self._steps = steps
        self.restart()

    def restart(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    def __call__(self, step: str) -> None:
        wall, cpu = time.perf_counter() - self._wall, _cpu_seconds() - self._cpu
        before = self._steps.get(step, (0.0, 0.0))
        self._steps[step] = round(before[0] + wall, 2), round(before[1] + cpu, 2)
        self.restart()


def _cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def count_and_time(row: Row, way: str, content: bytes) -> None:
    """Operators and latency of a .tflite file, by ``way``; latency is left out where it does not run."""
    graph = tflite_file.read(content).main
    row.operators[way] = len(graph.ops)
    rng = np.random.default_rng(0)
    tensor = graph.tensors[graph.inputs[0]]
    value = rng.random(tensor.shape, np.float32)
    least = -128 if tensor.dtype == "int8" else 0
    stored = value if tensor.dtype == "float32" else (value * 255 + least).astype(tensor.dtype)
    try:
        row.latency_us[way] = _median_us(content, stored)
    except (ValueError, RuntimeError):  # the interpreter's own
        return


def _median_us(content: bytes, value: npt.NDArray[Any]) -> float:
    run = WholeFile(content, PREFERRED)
    run(value)
    return round(statistics.median(_microseconds(lambda: run(value)) for _ in range(RUNS)), 1)


def _microseconds(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return (time.perf_counter() - start) * 1e6
