"""One network file from import to int8, bare onnx2tf beside it; what :mod:`tests.benchmarks.real_networks` runs.

``python -m tests.benchmarks.one_network MODEL FOLDER`` writes ``FOLDER/row.json``. A process of its own,
so that time and memory are the network's, and what crashes ends no other.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.agreement.agreement import agreement
from multigraft.bundle.bundle import Bundle
from multigraft.bundle.manifest import Kind
from multigraft.converters.conversion.interpreters import Runner
from multigraft.converters.conversion.onnx2tf_environment import ensure
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.importing.importer import load_network
from multigraft.converters.importing.onnx_reader import read_onnx
from multigraft.converters.network.network import Network
from multigraft.converters.packing.convert import FLOAT_INPUTS, convert
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.packing.steadiness import moves
from multigraft.converters.packing.verify import FLOAT_TOLERANCE
from multigraft.converters.quantising.layer_error import sqnr_db
from multigraft.errors import MultigraftError
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tflite import tflite_file
from tests.benchmarks.natural_pictures import natural_pictures

FRAMES = 32
"""To calibrate on, and as many again, held out."""

OPEN_SIZE = 224
"""Pixels of a side that the file leaves open."""

BARE_SECONDS = 300
RUNS = 15

LEAST_ANSWER = 1e-3
"""Below, a sigmoid is 0 in eight bits: a detector that finds nothing on the pictures shows nothing of its int8."""

Values = list[npt.NDArray[Any]]


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
        bare: What onnx2tf alone makes of the file: ``right``, ``wrong``, ``refused``, ``does not run``, ``crashes``.
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


def measure(
    path: Path, folder: Path, frames: npt.NDArray[np.uint8] | None = None, count: int = FRAMES, with_bare: bool = True
) -> Row:
    """Everything about the network in ``path``; ``folder`` takes intermediate files."""
    row = Row(path.name)
    watch = Stopwatch(row.steps)
    try:
        network = _load(path)
    except MultigraftError as error:
        row.outcome = str(error)
        return row
    watch("import")
    assert isinstance(network.preprocessing, Preprocessing)
    seen, held_out = _frames(network.preprocessing, frames, count)
    row.size, row.parameters = network.input_shape, network.weights
    reference = _outputs(network, held_out)
    watch.restart()
    try:
        _ours(row, network, seen, held_out, reference, folder / "ours", watch)
        row.outcome = "through"
    except MultigraftError as error:
        row.outcome = str(error)
    if path.suffix == ".onnx" and with_bare and len(network.input_shape) == 3:
        _bare(row, path, network, held_out, reference, folder / "bare")
    return row


def _load(path: Path) -> Network:
    return load_network(path, name="net", preprocessing=_opened(path) if path.suffix == ".onnx" else None)


def _opened(path: Path) -> Preprocessing | None:
    """Pixels of 0..1 at :data:`OPEN_SIZE` where the file leaves its size open; None where it does not."""
    model = read_onnx(path)
    weights = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        return None
    dims = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    channels, height, width = (dims[3], dims[1], dims[2]) if dims[1] not in (0, 1, 3) else dims[1:]
    channels = channels or 3
    if (height and width) or channels not in (1, 3):
        return None
    height, width = height or OPEN_SIZE, width or OPEN_SIZE
    return Preprocessing(height, width, "grey" if channels == 1 else "rgb", (0.0,) * channels, (1 / 255,) * channels)


Pictures = list[npt.NDArray[Any]]
"""Or arrays of random values, for a network that takes such."""


def _frames(
    preprocessing: Preprocessing | ArrayPreparation, given: npt.NDArray[np.uint8] | None, count: int
) -> tuple[Pictures, Pictures]:
    """To calibrate on, and held out."""
    if isinstance(preprocessing, ArrayPreparation):
        shape, rng = (2 * count, *preprocessing.shape), np.random.default_rng(0)
        is_whole = preprocessing.values == "int32"
        rows = rng.integers(0, 2, shape, np.int32) if is_whole else rng.standard_normal(shape, np.float32)
        return list(rows[:count]), list(rows[count:])
    if given is None:
        made = natural_pictures(2 * count, preprocessing.height, preprocessing.width, preprocessing.channels)
        return list(made[:count]), list(made[count:])
    chosen = given[np.linspace(0, len(given) - 1, 2 * count).astype(int)]
    return list(chosen[::2]), list(chosen[1::2])


def _outputs(network: Network, frames: Pictures) -> Values:
    rows = [network.run(network.prepare([frame])) for frame in frames]
    return [np.concatenate([row[name] for row in rows]) for name in network.outputs]


def _ours(
    row: Row,
    network: Network,
    seen: Pictures,
    held_out: Pictures,
    reference: Values,
    folder: Path,
    watch: Stopwatch,
) -> None:
    folder.mkdir(parents=True)
    step = "float"

    def report(line: str) -> None:
        nonlocal step
        if line.startswith("quantising to"):
            watch(step)
            step = "int8"

    multitask = assemble([network], SharingPlan({}, 0, 0))
    converted = convert(multitask, {network.input: seen}, name="net", work_dir=folder, report=report)
    watch(step)
    row.float_error = max(converted.verification.float_error.values())
    feeds = [{network.input: network.prepare([frame])} for frame in seen[:: max(1, len(seen) // FLOAT_INPUTS)]]
    row.rounding = max(moves(network.model, network.outputs, feeds))
    watch.restart()
    if (worst := converted.layer_error.worst) is not None:
        row.noisiest = f"{worst.operator} {worst.tensor}", round(worst.own_sqnr_db, 1)
    raw = folder / "onnx2tf" / "model_float32.tflite"
    ways = {"onnx2tf": raw.read_bytes(), "ours": converted.float_model, "int8": converted.uncut_model}
    for way, content in ways.items():
        _count_and_time(row, way, content)
    row.agreement_kind = "classification" if len(reference) == 1 and _is_of_classes(reference[0]) else "other"
    got = _bundle_outputs(converted.bundle, held_out, reference)
    answering = [(r, g) for r, g in zip(reference, got, strict=True) if np.abs(r).max(initial=0) > LEAST_ANSWER]
    if answering:
        row.agreement = agreement(row.agreement_kind, reference, got).value
        row.sqnr_db = round(min(sqnr_db([r], [g]) for r, g in answering), 1)


def _is_of_classes(value: npt.NDArray[Any]) -> bool:
    return value.ndim == 2 and value.shape[1] > 1


def _bundle_outputs(bundle: Bundle, frames: Pictures, reference: Values) -> Values:
    values = BundleRunner(bundle).outputs("net", frames)
    laid_out = []
    for value, wanted in zip(values, reference, strict=True):
        is_last = value.ndim == 4 and tuple(value.shape[i] for i in (0, 3, 1, 2)) == wanted.shape
        laid_out.append((value.transpose(0, 3, 1, 2) if is_last else value).reshape(wanted.shape))
    return laid_out


def _count_and_time(row: Row, way: str, content: bytes) -> None:
    graph = tflite_file.read(content).main
    row.operators[way] = len(graph.ops)
    rng = np.random.default_rng(0)
    tensor = graph.tensors[graph.inputs[0]]
    value = rng.random(tensor.shape, np.float32)
    stored = value if tensor.dtype == "float32" else (value * 255 - 128).astype(tensor.dtype)
    try:
        row.latency_us[way] = _median_us(content, stored)
    except MultigraftError:
        return


def _median_us(content: bytes, value: npt.NDArray[Any]) -> float:
    signature = tflite_file.read(content).signatures[0]
    run, feed = Runner(content), {next(iter(signature.inputs)): value}
    run(feed)
    return round(statistics.median(_microseconds(lambda: run(feed)) for _ in range(RUNS)), 1)


def _microseconds(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return (time.perf_counter() - start) * 1e6


def _bare(
    row: Row,
    path: Path,
    network: Network,
    frames: Pictures,
    reference: Values,
    folder: Path,
) -> None:
    """onnx2tf on the file as it is, told only the size that it leaves open."""
    folder.mkdir(parents=True)
    shutil.copy(path, folder / "model.onnx")  # onnx2tf rewrites the file that it reads
    for external in path.parent.glob(f"{path.name}*data"):
        shutil.copy(external, folder)
    environment = ensure()
    model = read_onnx(path)
    weights = {i.name for i in model.graph.initializer}
    value = next(i for i in model.graph.input if i.name not in weights)
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    command = [str(environment.python), "-P", "-m", "onnx2tf", "-i", "model.onnx", "-o", "onnx2tf", "-n"]
    channels, height, width = network.input_shape
    is_last = dims[1] not in (0, channels) and dims[3] in (0, channels)
    if not all(dims):
        shape = (1, height, width, channels) if is_last else (1, channels, height, width)
        command += ["-ois", f"{value.name}:{','.join(map(str, shape))}"]
    watch = Stopwatch(row.steps)
    try:
        with (folder / "log").open("w") as log:
            done = subprocess.run(
                command, cwd=folder, env=environment.variables, stdout=log, stderr=log, timeout=BARE_SECONDS
            )
    except subprocess.TimeoutExpired:
        row.bare = "refused"
        return
    watch("bare")
    result = folder / "onnx2tf" / "model_float32.tflite"
    if done.returncode or not result.is_file():
        row.bare = "refused"
        return
    content = result.read_bytes()
    row.bare = "crashes"
    x = network.prepare([frames[0]])
    try:
        row.bare = _judged(content, x, [r[:1] for r in reference])
        _count_and_time(row, "bare", content)
    except MultigraftError:  # variables that nothing sets, operators without a name
        row.bare = "does not run"


def _judged(content: bytes, x: npt.NDArray[np.float32], wanted: Values) -> str:
    """Whatever layout it chose counts as right."""
    signature = tflite_file.read(content).signatures[0]
    argument, tensor = next(iter(signature.inputs.items()))
    shape = tflite_file.read(content).main.tensors[tensor].shape
    for laid_out in (x.transpose(0, 2, 3, 1), x):
        if laid_out.shape != shape:
            continue
        try:
            got = list(Runner(content)({argument: np.ascontiguousarray(laid_out)}).values())
        except MultigraftError:
            return "does not run"
        if len(got) == len(wanted) and all(any(_equals(g, w) for g in got) for w in wanted):
            return "right"
    return "wrong"


def _equals(value: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> bool:
    rank = wanted.ndim
    permutations = [tuple(range(rank))] + ([(0, *range(2, rank), 1), (0, 2, 1)[:rank]] if rank >= 3 else [])
    limit = FLOAT_TOLERANCE * max(float(np.abs(wanted).max(initial=0.0)), 1e-12)
    for permutation in permutations:
        if len(permutation) != rank or wanted.transpose(permutation).shape != value.shape:
            continue
        if float(np.abs(value - wanted.transpose(permutation)).max(initial=0.0)) <= limit:
            return True
    return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--count", type=int, default=FRAMES)
    parser.add_argument("--no-bare", action="store_true")
    options = parser.parse_args()
    given = None if options.frames is None else np.load(options.frames)
    if given is not None and not isinstance(given, np.ndarray):
        given = given[given.files[0]]
    options.folder.mkdir(parents=True, exist_ok=True)
    measured = measure(options.model, options.folder, given, options.count, not options.no_bare)
    (options.folder / "row.json").write_text(json.dumps(dataclasses.asdict(measured)))
