"""ONNX's own operator tests through the converter, bare and with our rewrites and clean-ups, against onnxruntime.

``python -m tests.benchmarks conformance``: opt-in, since it takes minutes. Of the tests in the onnx package those count
that are one node, take and give float32 of static shapes, and run in onnxruntime. The first float32 input stays an
input, all others become constants, as in a network.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import numpy_helper

from multigraft.converters.conversion.boundary_tensors import locate, to_tflite_layout
from multigraft.converters.conversion.interpreters import Runner, tapped
from multigraft.converters.conversion.onnx2tf import names_kept_channel_first
from multigraft.converters.conversion.onnx2tf_environment import Environment, ensure
from multigraft.converters.conversion.rewrite import rewrite
from multigraft.converters.importing import simplify
from multigraft.converters.importing.forms.constant_ways import write_out_constant_ways
from multigraft.errors import MultigraftError
from multigraft.tflite import tflite_file
from tests.fuzz.converting import LAUNCHER, SERVER

TOLERANCE = 1e-4
"""Largest difference, relative to the largest magnitude of the output where that is above 1."""

BEYOND_TFLITE = {
    "ai_onnx_ml": "trees and tables of classical learning are another operator set",
    "NCd1d2d3d4d5_none": "TFLite's kernels take six dimensions at most",
}
"""Part of a test's name to why no .tflite file of builtin operators can compute it."""

NOT_YET = {
    "mask_causal": "onnxruntime writes the lowest number where ONNX has minus infinity; import refuses it",
}
"""The same for what could be computed."""

_SECONDS = 60
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """One operator test.

    Attributes:
        name: As onnx calls it.
        operator: Of its one node.
        model: With one input.
        feed: Value of the input.
        expected: What onnxruntime gives, by output.
    """

    name: str
    operator: str
    model: onnx.ModelProto
    feed: Arrays
    expected: Arrays


def cases(only: Sequence[str] = ()) -> list[Case]:
    """All tests that count, or those of the operators ``only``."""
    from onnx.backend.test.case.node import collect_testcases

    with np.errstate(all="ignore"):
        collected = [t for t in collect_testcases(None) if t.model is not None]
    made = (_case(test) for test in collected if not only or any(n.op_type in only for n in _nodes(test)))
    return sorted((c for c in made if c is not None), key=lambda c: (c.operator, c.name))


def _nodes(test: Any) -> Sequence[onnx.NodeProto]:
    nodes: Sequence[onnx.NodeProto] = test.model.graph.node
    return nodes


def _case(test: Any) -> Case | None:
    graph = test.model.graph
    inputs, outputs = test.data_sets[0]
    floats = [i for i, v in enumerate(inputs) if isinstance(v, np.ndarray) and v.dtype == np.float32]
    are_arrays = all(isinstance(v, np.ndarray) for v in (*inputs, *outputs))
    if len(graph.node) != 1 or not floats or not are_arrays or any(o.dtype != np.float32 for o in outputs):
        return None
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    kept = model.graph.input[floats[0]]
    for value, info in zip(inputs, graph.input, strict=True):
        if info.name != kept.name:
            model.graph.initializer.append(numpy_helper.from_array(value, info.name))
    kept = onnx.helper.make_tensor_value_info(kept.name, onnx.TensorProto.FLOAT, inputs[floats[0]].shape)
    del model.graph.input[:]
    model.graph.input.append(kept)
    feed = {kept.name: inputs[floats[0]]}
    expected = _in_child(lambda: _onnxruntime(model, feed))
    others = {n: (np.random.default_rng(1).standard_normal(v.shape) * 9).astype(np.float32) for n, v in feed.items()}
    changed = _in_child(lambda: _onnxruntime(model, others))
    if not isinstance(expected, dict) or not isinstance(changed, dict):
        return None
    # What no input reaches is nothing that a converter has to compute.
    expected = {n: v for n, v in expected.items() if not np.array_equal(v, changed[n], equal_nan=True)}
    if not expected or any(0 in v.shape for v in (*expected.values(), *feed.values())):
        return None
    outputs = [o for o in model.graph.output if o.name in expected]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return Case(test.name, graph.node[0].op_type, model, feed, expected)


def _onnxruntime(model: onnx.ModelProto, feed: Arrays) -> Arrays:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def prepared(case: Case) -> onnx.ModelProto:
    """The model as our own way hands it to onnx2tf."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    # Below version 4 of the format, initialisers have to be inputs as well.
    model.ir_version = max(model.ir_version, 4)
    model = write_out_constant_ways(model)
    with contextlib.suppress(Exception):
        model = simplify._at_opset(model)
    return rewrite(model)


def judge(case: Case, folder: Path, is_ours: bool, model: onnx.ModelProto) -> str:
    """``right``, ``wrong``, ``refused``, ``crashes``, or ``lacking`` for what no interpreter has an operator for."""
    result = folder / "onnx2tf" / "model_float32.tflite"
    status = (folder / "status").read_text()
    if not result.is_file() or status != "0":
        return "crashes" if status.isdigit() and int(status) & 0x7F else "refused"
    verdict = _in_child(lambda: _compare_ours(case, result, model) if is_ours else _compare_bare(case, result))
    return verdict if isinstance(verdict, str) else "crashes"


def _compare_bare(case: Case, path: Path) -> str:
    """Whatever layout it chose counts as right."""
    content = path.read_bytes()
    model = tflite_file.read(content)
    if any(op.name == "CUSTOM" for op in model.main.ops):
        return "lacking"
    signature = model.signatures[0]
    argument, tensor = next(iter(signature.inputs.items()))
    value = next(iter(case.feed.values()))
    is_right = False
    for permutation in _permutations(value.ndim):
        moved = np.ascontiguousarray(value.transpose(permutation))
        if moved.shape != model.main.tensors[tensor].shape:
            continue
        try:
            answers = Runner(content)({argument: moved})
        except MultigraftError:
            return "lacking"
        got = [answers.get(n) for n in case.expected]
        if any(g is None for g in got):
            got = list(answers.values())
        is_right = is_right or all(
            any(_equal(g, e.transpose(p)) for p in _permutations(e.ndim))
            for g, e in zip(got, case.expected.values(), strict=False)
        )
    return "right" if is_right else "wrong"


def _compare_ours(case: Case, path: Path, model: onnx.ModelProto) -> str:
    converted = tflite_file.read(path.read_bytes())
    if any(op.name == "CUSTOM" for op in converted.main.ops):
        return "lacking"
    try:
        floating = locate(converted, model, [], list(case.expected), [case.feed])
        names = [floating.boundaries[n] for n in case.expected]
        answers = Runner(tapped(floating.graph, names))(to_tflite_layout(case.feed, floating.layouts))
    except MultigraftError as error:
        (path.parent / "error").write_text(str(error))
        return "lacking" if "refuses the model" in str(error) or "does not run" in str(error) else "wrong"
    wanted = to_tflite_layout(case.expected, floating.layouts)
    return "right" if all(_equal(answers[t], wanted[n]) for n, t in zip(wanted, names, strict=True)) else "wrong"


def _permutations(rank: int) -> list[tuple[int, ...]]:
    plain = tuple(range(rank))
    return [plain] if rank < 3 else [plain, (0, *range(2, rank), 1)]


def _equal(value: npt.NDArray[Any] | None, wanted: npt.NDArray[Any]) -> bool:
    if value is None or value.shape != wanted.shape:
        return False
    finite = np.isfinite(wanted)
    if not np.array_equal(value[~finite], wanted[~finite], equal_nan=True):
        return False
    error = np.abs(value[finite].astype(np.float64) - wanted[finite]).max(initial=0.0)
    return bool(error <= TOLERANCE * max(1.0, float(np.abs(wanted[finite]).max(initial=0.0))))


def _in_child(do: Callable[[], Any]) -> Any:
    """The result of ``do`` in a forked process; None if that dies or raises."""
    import signal

    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            signal.alarm(_SECONDS)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            with os.fdopen(writer, "wb") as stream:
                pickle.dump(do(), stream)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    return pickle.loads(data) if data else None


def show(folder: Path) -> None:
    """Print verdicts per operator, bare and ours, and the names of what is not right."""
    environment = ensure(print)
    tests = cases(os.environ.get("MULTIGRAFT_OPERATORS", "").split())
    print_table(tests, {way: verdicts(tests, folder / way, way == "ours", environment) for way in ("bare", "ours")})


def verdicts(tests: Sequence[Case], folder: Path, is_ours: bool, environment: Environment) -> dict[str, str]:
    """Convert all ``tests`` into folders of their own inside ``folder``; test to what :func:`judge` says."""
    models = [prepared(case) if is_ours else case.model for case in tests]
    folders = [folder / case.name for case in tests]
    for place, model in zip(folders, models, strict=True):
        place.mkdir(parents=True)
        onnx.save(model, place / "model.onnx")
        (place / "kept").write_text("\n".join(names_kept_channel_first(model)) if is_ours else "")
    command = [str(environment.python), "-P", str(SERVER), str(LAUNCHER)]
    asked = "".join(f"usual {place}\n" for place in folders)
    ended = subprocess.run(
        command, env=environment.variables, input=asked, stdout=subprocess.PIPE, text=True, check=True
    )
    for place, status in zip(folders, ended.stdout.split(), strict=True):
        (place / "status").write_text(status)
    judged = zip(tests, folders, models, strict=True)
    return {case.name: judge(case, place, is_ours, model) for case, place, model in judged}


def print_table(tests: Sequence[Case], verdicts: dict[str, dict[str, str]]) -> None:
    """Counts per operator and way, then what is not right."""
    columns = ("right", "wrong", "lacking", "refused", "crashes")
    print(f"{'operator':28} {'tests':>5}  " + "  ".join(f"{way}: {' '.join(columns)}" for way in verdicts))
    by_operator = collections.defaultdict(list)
    for case in tests:
        by_operator[case.operator].append(case.name)
    for operator, names in [*by_operator.items(), ("all", [c.name for c in tests])]:
        counts = [[sum(done[n] == c for n in names) for c in columns] for done in verdicts.values()]
        print(f"{operator:28} {len(names):5}  " + "    ".join(" ".join(f"{n:7}" for n in row) for row in counts))
    for case in tests:
        if (verdict := verdicts["ours"][case.name]) != "right":
            reason = _reason(BEYOND_TFLITE | NOT_YET, case.name)
            print(f"{verdict:8} {case.name} (bare: {verdicts['bare'][case.name]}): {reason}", file=sys.stdout)
    for way, done in verdicts.items():
        can = [c.name for c in tests if not _reason(BEYOND_TFLITE, c.name) or done[c.name] == "right"]
        right = sum(done[n] == "right" for n in can)
        share = f", {right / len(can):.1%}" if can else ""
        print(f"{way}: {right} right of {len(can)} that TFLite can express{share}")


def _reason(reasons: Mapping[str, str], name: str) -> str:
    return next((why for part, why in reasons.items() if part in name), "")
