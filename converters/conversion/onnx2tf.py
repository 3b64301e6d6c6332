"""Runs onnx2tf as a subprocess: ONNX in, float32 .tflite out."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import onnx

from multigraft import files
from multigraft.converters.conversion.dangling import write_dangling
from multigraft.converters.conversion.known_results import with_agreeing_reshapes, without_known_results
from multigraft.converters.conversion.onnx2tf_environment import Environment, cache_folder
from multigraft.converters.conversion.onnx2tf_launcher import PLAIN
from multigraft.converters.conversion.reconnecting import reconnected
from multigraft.converters.conversion.rewrite import rewrite
from multigraft.converters.conversion.transposes import is_cube
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.failing_node import failing_node
from multigraft.errors import ConversionError, UsageError
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Model

_LAUNCHER = Path(__file__).with_name("onnx2tf_launcher.py").resolve()

_NODE = re.compile(r"onnx_op_name: *(\S+)")
_OP = re.compile(r"Error: .*\bop=(\S+)")
_MISSING = re.compile(r"No module named 'onnx2tf\.ops\.(\w+)'")
_LAST_WORDS = re.compile(r"^(\w*(?:Error|Exception)): *(.+)$", re.MULTILINE)


def to_tflite(
    model: onnx.ModelProto,
    environment: Environment,
    folder: Path,
    report: Report = silent,
    checkpoints: Checkpoints | None = None,
    is_plain: bool = False,
) -> Model:
    """Convert ``model`` (images NCHW) to float32 .tflite (images NHWC); the signature keeps input and output names.

    ``folder`` receives the ONNX file, the log and onnx2tf's files; after a failure the log is also in the cache folder.
    What ``checkpoints`` hold is not converted again. ``is_plain`` leaves out the converter's passes that move
    transposes about: more transposes stay, and what those passes get wrong comes out right.

    Raises:
        ConversionError: onnx2tf failed or left an operator that TFLite does not have; it names operator and node as far
            as onnx2tf tells, and the log.
    """
    prepared, names = with_plain_inputs(rewrite(model))

    def convert() -> bytes:
        return _convert(prepared, environment, folder, report, is_plain)

    if checkpoints is None:
        content = convert()
    else:
        depends_on = prepared.SerializeToString(deterministic=True), environment.version, str(environment.python)
        content = checkpoints.get("float", (*depends_on, *([PLAIN] if is_plain else [])), convert)
    converted = tflite_file.read(content)
    for op in converted.main.ops:
        if op.name == "CUSTOM":
            where = _nodes_of(model, op.custom_code) or _nodes_of(prepared, op.custom_code)
            raise ConversionError(
                f"operator {op.custom_code}{where} has no TFLite counterpart", "replace that operator in the network"
            )
    readers = {node.output[0]: node.input[0] for node in prepared.graph.node if node.input and node.output}
    known = (with_agreeing_reshapes(without_known_results(g)) for g in converted.subgraphs)
    graphs = (reconnected(write_dangling(graph, readers)) for graph in known)
    signatures = (
        dataclasses.replace(s, inputs={names.get(argument, argument): tensor for argument, tensor in s.inputs.items()})
        for s in converted.signatures
    )
    return dataclasses.replace(converted, subgraphs=tuple(graphs), signatures=tuple(signatures))


def _convert(model: onnx.ModelProto, environment: Environment, folder: Path, report: Report, is_plain: bool) -> bytes:
    how = ", its changes of layout left out" if is_plain else ""
    report(f"converting with onnx2tf {environment.version}{how}")
    content, log = _attempt(model, environment, folder, is_plain)
    if content is not None:
        return content
    if _FULL.search(log) or shutil.disk_usage(folder).free < _LEAST_FREE:
        raise ConversionError(
            f"onnx2tf {environment.version} failed: the disk of {folder.parent} is full",
            "make room there, or set TMPDIR to a folder on another disk",
        )

    def fails(part: onnx.ModelProto) -> bool:
        return _attempt(part, environment, folder, is_plain)[0] is None

    raise ConversionError(
        f"onnx2tf {environment.version} failed{reason_of(log, model, fails)}",
        f"replace that operator in the network, or see {keep_log(log, folder / LOG)}",
    )


LOG = "onnx2tf.log"


def _attempt(
    model: onnx.ModelProto, environment: Environment, folder: Path, is_plain: bool
) -> tuple[bytes | None, str]:
    """The .tflite file, None where there is none; and what was said."""
    source, output, log = folder / "model.onnx", folder / "onnx2tf", folder / LOG
    shutil.rmtree(output, ignore_errors=True)
    onnx.save(model, source)
    # onnxsim would run as three more processes, on a graph that is simplified already.
    arguments = ["-i", source.name, "-o", output.name, "-n", "--not_use_onnxsim"]
    if kept := names_kept_channel_first(model):
        arguments += ["--keep_shape_absolutely_input_names", *kept]
    started = [str(environment.python), "-P", str(_LAUNCHER), str(os.getpid()), *([PLAIN] if is_plain else [])]
    command = [*started, *arguments]
    with log.open("w") as stream:
        returncode = _run(command, folder, stream, environment)
    result = output / "model_float32.tflite"
    said = log.read_text(errors="replace")
    return (None if returncode or not result.is_file() else result.read_bytes()), said


_FULL = re.compile("No space left on device|Disk quota exceeded|File too large")
_LEAST_FREE = 1 << 20
"""Bytes: on a full disk the log may lack the line that says so."""


def with_plain_inputs(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
    """``model`` with plain names for inputs that onnx2tf would rename (PyTorch's ``onnx::Flatten_0``).

    Returns:
        It, and the plain name to the one it stands for: of several renamed inputs nobody could say which is which.
    """
    strange = [i.name for i in model.graph.input if ":" in i.name]
    if not strange:
        return model, {}
    taken = {n for node in model.graph.node for n in (*node.input, *node.output)} | {i.name for i in model.graph.input}
    free = (name for number in itertools.count() if (name := f"input_{number}") not in taken)
    plain = dict(zip(strange, free, strict=False))
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    for value in renamed.graph.input:
        value.name = plain.get(value.name, value.name)
    for node in renamed.graph.node:
        node.input[:] = [plain.get(n, n) for n in node.input]
    return renamed, {new: old for old, new in plain.items()}


def names_kept_channel_first(model: onnx.ModelProto) -> list[str]:
    """The inputs that stay as they are in ONNX: those that are no images, and cubes, which do not tell how they lie."""
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    return [name for name, shape in shapes.items() if len(shape) != 4 or is_cube(shape)]


def _run(command: list[str], folder: Path, log: TextIO, environment: Environment) -> int:
    """Run ``command`` in a process group of its own, which ends whenever this block does."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment.variables,
        start_new_session=True,
    )
    try:
        return process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def keep_log(text: str, log: Path) -> Path:
    """Where the log stays when the working folder goes."""
    kept = cache_folder() / "onnx2tf-failed.log"
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(kept, text.encode())
    except (OSError, UsageError):
        return log
    return kept


def reason_of(log: str, model: onnx.ModelProto, fails: Callable[[onnx.ModelProto], bool]) -> str:
    """What the log tells, as the rest of a sentence; where it names no node, that which parts of the model show."""
    if found := _MISSING.search(log):
        return f": it knows no operator {found[1]}{_nodes_of(model, found[1])}"
    words = _LAST_WORDS.findall(log)
    said = f" ({words[-1][0]}: {words[-1][1][:120]})" if words else ""
    nodes = {n.name: n for n in model.graph.node}
    named = _NODE.search(log) or _OP.search(log)
    node = nodes.get(named[1]) if named else failing_node(model, fails)
    if node is not None:
        return f" at node {(node.name or node.output[0])!r} ({node.op_type}){said}"
    return f" at node {named[1]!r} (made by onnx2tf){said}" if named else said


def _nodes_of(model: onnx.ModelProto, kind: str) -> str:
    names = [n.name or n.output[0] for n in model.graph.node if n.op_type.upper() == kind.upper().removeprefix("ONNX_")]
    return f" (node {names[0]!r})" if names else ""
