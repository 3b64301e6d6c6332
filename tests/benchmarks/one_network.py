"""One network file from import to int8, bare onnx2tf beside it; what :mod:`tests.benchmarks.real_networks` runs.

``python -m tests.benchmarks.one_network MODEL FOLDER`` writes ``FOLDER/row.json``. A process of its own,
so that time and memory are the network's, and what crashes ends no other.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.agreement.agreement import agreement
from multigraft.bundle.bundle import Bundle
from multigraft.converters.conversion.interpreters import Runner
from multigraft.converters.conversion.onnx2tf_environment import ensure
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.importing.check import assumed_preparation
from multigraft.converters.importing.forms.constant_inputs import hold_constant
from multigraft.converters.importing.importer import load_network
from multigraft.converters.importing.onnx_reader import read_onnx
from multigraft.converters.importing.tflite.standing import is_quantised
from multigraft.converters.network.network import Network
from multigraft.converters.packing.convert import convert
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.packing.steadiness import moves
from multigraft.converters.packing.to_float import FLOAT_INPUTS
from multigraft.converters.packing.verify import FLOAT_TOLERANCE
from multigraft.converters.quantising.layer_error import sqnr_db
from multigraft.errors import MultigraftError
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tflite import tflite_file
from tests.benchmarks.natural_pictures import natural_pictures
from tests.benchmarks.network_row import Row, Stopwatch, count_and_time
from tests.benchmarks.standing_network import measure_standing

FRAMES = 32
"""To calibrate on, and as many again, held out."""

BARE_SECONDS = 300

LEAST_ANSWER = 1e-3
"""Below, a sigmoid is 0 in eight bits: a detector that finds nothing on the pictures shows nothing of its int8."""

FORMS: dict[str, tuple[dict[str, float], tuple[int, ...]]] = {
    "silero_vad": ({"sr": 16_000, "state": 0, "h": 0, "c": 0}, (576,)),
    "melspectrogram": ({}, (1760,)),
}
"""Start of a file's name to inputs that are constants, and the size of its frame, as its package calls it."""

Values = list[npt.NDArray[Any]]


def measure(
    path: Path, folder: Path, frames: npt.NDArray[np.uint8] | None = None, count: int = FRAMES, with_bare: bool = True
) -> Row:
    """Everything about the network in ``path``; ``folder`` takes intermediate files."""
    row = Row(path.name)
    watch = Stopwatch(row.steps)
    try:
        if path.suffix.lower() == ".tflite" and is_quantised(path):
            measure_standing(row, path, watch, count)
            return row
        network = _load(path)
    except MultigraftError as error:
        row.outcome = str(error)
        return row
    watch("import")
    seen, held_out = _frames(network, frames, count)
    row.size, row.parameters = network.input_shape, network.weights
    reference = _outputs(network, held_out)
    watch.restart()
    try:
        _ours(row, network, seen, held_out, reference, folder / "ours", watch)
        row.outcome = "through"
    except MultigraftError as error:
        row.outcome = str(error)
    row.write(folder)  # what onnx2tf alone makes of it may end this process
    if path.suffix.lower() == ".tflite":
        row.bare = "as it is"
        count_and_time(row, "bare", path.read_bytes())
    elif with_bare and isinstance(network.preprocessing, Preprocessing):
        _bare(row, path, network, held_out, reference, folder / "bare")
    return row


def _load(path: Path) -> Network:
    """At the size that ``multigraft check`` takes where the file leaves it open, or its documentation's."""
    constants, size = next((f for name, f in FORMS.items() if path.stem.startswith(name)), ({}, None))
    if path.suffix.lower() != ".onnx":
        return load_network(path, name="net", preprocessing=None if size is None else ArrayPreparation(size))
    model = read_onnx(path)
    constants = {i.name: constants[i.name] for i in model.graph.input if i.name in constants}
    hold_constant(model, constants, path.name)
    return load_network(path, name="net", preprocessing=assumed_preparation(model, size, []), constants=constants)


Pictures = list[npt.NDArray[Any]]
"""Or arrays of random values, for a network that takes such."""


def _frames(network: Network, given: npt.NDArray[np.uint8] | None, count: int) -> tuple[Pictures, Pictures]:
    """To calibrate on, and held out."""
    preprocessing = network.preprocessing
    if isinstance(preprocessing, ArrayPreparation):
        shape, rng = (2 * count, *preprocessing.shape), np.random.default_rng(0)
        is_whole = preprocessing.values == "int32"
        rows = _whole_numbers(network, shape) if is_whole else rng.standard_normal(shape, np.float32)
        return list(rows[:count]), list(rows[count:])
    if given is None:
        made = natural_pictures(2 * count, preprocessing.height, preprocessing.width, preprocessing.channels)
        return list(made[:count]), list(made[count:])
    chosen = given[np.linspace(0, len(given) - 1, 2 * count).astype(int)]
    return list(chosen[::2]), list(chosen[1::2])


def _whole_numbers(network: Network, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Bytes, or 0 and 1 where the network knows fewer values."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, shape, np.int32)
    try:
        network.run(network.prepare(list(rows)))
    except Exception:  # onnxruntime's own, of an index that is out of bounds
        return rng.integers(0, 2, shape, np.int32)
    return rows


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
        count_and_time(row, way, content)
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
        count_and_time(row, "bare", content)
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
    measured.write(options.folder)
