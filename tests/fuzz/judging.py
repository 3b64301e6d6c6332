"""What becomes of one graph: right, refused by name, or anything that must not be."""

from __future__ import annotations

import os
import pickle
import re
import signal
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.importing.importer import load_network
from multigraft.converters.packing.convert import convert
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.quantising.precisions import Precision
from multigraft.errors import MultigraftError, UnsupportedOperatorError
from multigraft.tensors.preprocessing import Preprocessing, prepare_batch
from tests.fuzz.converting import Served
from tests.fuzz.graphs import Graph, answers

FRAMES = 3
SECONDS = 120
TOLERANCE = 1e-3
"""Largest difference over the largest magnitude of an output, or of 0.1 where that is smaller."""

INT8_FLOOR_DB = 3.0
"""Least ratio of signal to noise of an output whose layers were all reported as sound."""


@dataclass(frozen=True)
class Verdict:
    """How a graph ended.

    Attributes:
        kind: ``right``, ``refused`` (at import, by name), ``late`` (by name, but after import), ``vague``
            (a sentence that names no operator), ``wrong``, ``traceback`` or ``crash``.
        detail: Operator or sentence.
    """

    kind: str
    detail: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether it must not be."""
        return self.kind not in ("right", "refused", "late")


def judge_in_fork(graph: Graph, served: Served, precision: Precision = "float32") -> Verdict:
    """As :func:`judge_here`, in a fork, as interpreters may crash; for processes without threads."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            signal.alarm(SECONDS)
            with os.fdopen(writer, "wb") as stream:
                pickle.dump(judge_here(graph, served, precision), stream)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    _, status = os.waitpid(child, 0)
    if status & 0x7F:
        return Verdict("crash", f"ended by {signal.Signals(status & 0x7F).name}")
    verdict: Verdict = pickle.loads(data) if data else Verdict("traceback", "in the judge")
    return verdict


def judge_here(graph: Graph, served: Served, precision: Precision = "float32") -> Verdict:
    """Build a bundle from ``graph`` as a user would and compare its answers with onnxruntime's on the original."""
    frames = _frames(graph.preprocessing)
    with tempfile.TemporaryDirectory(dir=served.folder) as name:
        path = Path(name) / "net.onnx"
        onnx.save(graph.model, path)
        try:
            network = load_network(path, preprocessing=graph.preprocessing)
        except MultigraftError as error:
            return _refusal(error, graph)
        except Exception as error:
            return Verdict("traceback", _where(error))
        try:
            network.cut_points  # noqa: B018 - every build asks for them
            multitask = assemble([network], SharingPlan({}, network.weights, network.macs))
            given = {network.input: frames} if precision != "float32" else {}
            made = convert(
                multitask, given, precision=precision, name="fuzz", work_dir=Path(name), checkpoints=served,
                verified_inputs=2,
            )  # fmt: skip
            found = BundleRunner(made.bundle).outputs("net", frames)
        except UnsupportedOperatorError as error:
            return _refusal(error, graph)
        except MultigraftError as error:
            return Verdict("late" if _named(error, graph) else "vague", str(error))
        except Exception as error:
            return Verdict("traceback", _where(error))
    kept = [o.removeprefix("net/") for o in network.outputs]
    names = [o.name for o in graph.model.graph.output]
    wanted = _wanted(graph, frames)
    for output, value in zip(kept, found, strict=True):
        expected = np.concatenate([w[names.index(output)].reshape(1, *w[names.index(output)].shape) for w in wanted])
        got = _laid_out(value, expected)
        if got is None:
            return Verdict("wrong", f"shape {value.shape} for {expected.shape}")
        worst = _difference(got, expected)
        if precision == "float32" and worst > TOLERANCE:
            return Verdict("wrong", f"{output} by {worst:.2g}")
        if precision != "float32" and not made.safety.noisy and _sqnr_db(got, expected) < INT8_FLOOR_DB:
            return Verdict("wrong", f"int8 {_sqnr_db(got, expected):.1f} dB, and no layer is named")
    return Verdict("right")


def _frames(preprocessing: Preprocessing) -> list[npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(5)
    shape = (preprocessing.height, preprocessing.width, 3)[: 2 if preprocessing.channels == 1 else 3]
    return [rng.integers(0, 256, shape, np.uint8) for _ in range(FRAMES)]


def _wanted(graph: Graph, frames: list[npt.NDArray[np.uint8]]) -> list[list[Any]]:
    shape = [d.dim_value for d in graph.model.graph.input[0].type.tensor_type.shape.dim]
    inputs = [prepare_batch([f], graph.preprocessing) for f in frames]
    if list(inputs[0].shape) != shape:
        inputs = [i.transpose(0, 2, 3, 1) for i in inputs]
    return [answers(graph.model, {"x": np.ascontiguousarray(i)}) for i in inputs]


def _laid_out(value: npt.NDArray[Any], expected: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """The bundle's frames-first, channel-last answer as the original lies; one without a batch has got the frame."""
    shape, frames = expected.shape[1:], len(expected)
    is_picture = value.ndim == 4
    if value.ndim == len(shape):
        value = value.reshape(frames, -1, *value.shape[1:])
    channels = value.ndim - 3
    if is_picture and channels > 0 and value.shape[channels:] == (*shape[channels:], shape[channels - 1]):
        value = np.moveaxis(value, -1, channels)
    if not shape and value.size == expected.size:  # a single number is a row of one
        value = value.reshape(expected.shape)
    return value if value.shape == expected.shape else None


def _difference(value: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    difference = np.abs(value.astype(np.float64) - expected).max(initial=0.0)
    return float(difference / max(np.abs(expected.astype(np.float64)).max(initial=0.0), 0.1))


def _sqnr_db(value: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """Signal over noise; infinite where both are as good as nothing."""
    noise, signal = (float((v.astype(np.float64) ** 2).mean()) for v in (value - expected, expected))
    return float("inf") if noise < 1e-6 else 10 * float(np.log10(max(signal, 1e-12) / noise))


def _refusal(error: MultigraftError, graph: Graph) -> Verdict:
    name = _named(error, graph)
    return Verdict("refused", name) if name else Verdict("vague", str(error))


def _named(error: MultigraftError, graph: Graph) -> str:
    """The operator of the graph that the sentence names, by its kind or by what it writes; empty if none."""
    for node in graph.model.graph.node:
        if any(re.search(rf"'net/{output}[/']", str(error)) for output in node.output):
            return str(node.op_type)
        if node.name and re.search(rf"'net/{node.name}(?![0-9A-Za-z])", str(error)):
            return str(node.op_type)
    kinds = sorted({n.op_type for n in graph.model.graph.node}, key=len, reverse=True)
    found = (k for k in kinds if re.search(rf"\b{k}\b|\bONNX_{k.upper()}\b", str(error)))
    return next(found, "")


def _where(error: Exception) -> str:
    """The exception and the last line of ours that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/converters/" in f.filename or "/core/" in f.filename]
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{place}: {' '.join(str(error).split())[:160]}"
