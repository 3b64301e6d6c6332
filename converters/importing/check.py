"""What a file is and whether it can be built, without frames and without converting it."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from multigraft.converters.conversion.rewrite import rewrite
from multigraft.converters.importing.consent import require_consent
from multigraft.converters.importing.forms.constant_inputs import hold_constant
from multigraft.converters.importing.forms.inputs import fed_inputs
from multigraft.converters.importing.forms.well_formed import refuse_broken_text
from multigraft.converters.importing.importer import load_network
from multigraft.converters.importing.known_operators import INT8_OPERATORS, refuse_unknown_node, tflite_operators
from multigraft.converters.importing.node_names import label
from multigraft.converters.importing.onnx_reader import DEFAULT_DOMAINS, LARGEST, read_onnx, refuse_node
from multigraft.converters.importing.open_size import DEFAULT, open_dimensions, usual_size
from multigraft.converters.importing.simplify import INDEX_TYPES
from multigraft.converters.importing.tflite.loading import load
from multigraft.converters.importing.tflite.standing import load_standing
from multigraft.converters.network.network import Network
from multigraft.converters.settings.foreign_formats import foreign_format
from multigraft.converters.settings.settings import MODEL_SUFFIXES
from multigraft.errors import InputError, MultigraftError, UnsupportedOperatorError, UsageError, one_line
from multigraft.reading import regular_file
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.preparation import Preparation
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tflite.graph import Tensor
from multigraft.tflite.macs import graph_macs

OPEN_LENGTH = 128
"""What is taken for each dimension of arrays that the file leaves open."""


@dataclass(frozen=True)
class Row:
    """One kind of operator.

    Attributes:
        operator: Its ONNX name.
        count: How many there are.
        becomes: TFLite operators; None if it cannot be converted, nothing if only a constant is left of it.
        int8: Whether the quantiser makes all of these int8.
    """

    operator: str
    count: int
    becomes: tuple[str, ...] | None
    int8: bool


@dataclass(frozen=True)
class Problem:
    """Why it cannot be built, and what to do about it."""

    problem: str
    remedy: str


@dataclass(frozen=True)
class Checked:
    """All that the command shows.

    Attributes:
        source: As it was given.
        inputs: As in the file: name, type, shape; an open dimension is its name.
        outputs: Likewise.
        opset: Version of the default operator set in the file; 0 where there is none.
        exporter: Who wrote the file, as it says.
        parameters: Number of parameters; None where the network could not be read.
        macs: Multiply-accumulates per frame; likewise.
        cut_points: Where it may share a trunk, from the input on: name, shape, parameters and MACs up to there.
        rows: Operators by name.
        problems: Empty if it can be built.
        notes: What was cast, dequantised or assumed.
    """

    source: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    exporter: str
    parameters: int | None
    macs: int | None
    cut_points: tuple[dict[str, Any], ...]
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def check(
    source: str,
    size: tuple[int, ...] | None = None,
    constants: Mapping[str, float] | None = None,
    *,
    trusts_code: bool = False,
) -> Checked:
    """Read and clean a network as a build does, and say what was found.

    Args:
        source: An .onnx file, a .tflite file or a .pt2 exported program.
        size: Height and width of the input, pixels, where the file leaves them open; of arrays, every dimension
            behind the batch.
        constants: As :func:`~multigraft.converters.importing.importer.load_network` takes them.
        trusts_code: Agree to open a .pt2 file, which may run code.

    Raises:
        InputError: There is no such file, or it may not be read.
        MissingDependencyError: PyTorch is needed and not installed.
        UsageError: It may run code when it is opened, and nobody agreed to that.
    """
    if foreign := foreign_format(Path(source)):
        raise InputError(f"{source} {foreign[0]}", foreign[1])
    with regular_file(source):
        pass
    require_consent(source, trusts_code)
    if Path(source).suffix.lower() == ".tflite" and (checked := _standing(source)):
        return checked
    notes: list[str] = []
    problems: list[Problem] = []
    raw: onnx.ModelProto | None = None
    network: Network | None = None
    try:
        suffix = Path(source).suffix.lower()
        if suffix == ".onnx" or suffix not in MODEL_SUFFIXES:
            raw = _as_written(source)
            raw = read_onnx(Path(source))
            hold_constant(raw, constants or {}, source)
        preprocessing = None if raw is None else assumed_preparation(raw, size, notes)
        network = load_network(
            source,
            name="network",
            preprocessing=preprocessing,
            constants=constants,
            report=notes.append,
            trusts_code=trusts_code,
        )
    except MultigraftError as error:
        is_assumed = any("size is open" in n for n in notes) and not isinstance(error, UnsupportedOperatorError)
        remedy = f"give the --size that it takes, or {error.remedy}" if is_assumed else error.remedy
        problems.append(Problem(error.problem, remedy))
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        # Tools that read foreign files fail in ways of their own; whoever asks what a file is wants an answer.
        problems.append(Problem(f"{source} cannot be read ({one_line(error)})", "export it again, or report it"))
    shown = network.model if network is not None else raw
    if shown is not None:
        problems += _further(shown, source, problems)
    if network is not None and not problems:
        problems += _after_rewriting(network, source)
    if network is not None and not network.cut_points:
        notes.append("note: it has no cut point, so that it can only stand beside others or share all of itself")
    facts = raw or shown
    opset = 0 if facts is None else next((int(o.version) for o in facts.opset_import if o.domain in DEFAULT_DOMAINS), 0)
    return Checked(
        source,
        () if facts is None else tuple(map(_value, fed_inputs(facts.graph))),
        () if facts is None else tuple(map(_value, facts.graph.output)),
        0 if raw is None and network is not None and Path(source).suffix.lower() == ".tflite" else opset,
        "" if facts is None else f"{facts.producer_name} {facts.producer_version}".strip(),
        None if network is None else network.weights,
        None if network is None else network.macs,
        () if network is None else tuple(
            {"name": p.label, "shape": list(p.shape), "parameters": p.weights, "macs": p.macs}
            for p in network.cut_points
        ),
        () if shown is None else _rows(shown.graph.node),
        tuple(problems),
        tuple(note.removeprefix("note: ") for note in notes),
    )  # fmt: skip


def _standing(source: str) -> Checked | None:
    """What a .tflite file that computes with integers or bits is; None for any other."""
    try:
        loaded = load(Path(source))
    except MultigraftError:
        # Whoever reads it as any other network says why it cannot be.
        return None
    if not loaded.is_quantised:
        return None
    problems = []
    try:
        load_standing(Path(source), "network", None, "other")
    except MultigraftError as error:
        problems.append(Problem(error.problem, error.remedy))
    graph = loaded.model.main
    counts = collections.Counter(
        (op.label, graph.tensors[op.outputs[0]].dtype if op.outputs else "") for op in graph.ops
    )
    return Checked(
        source,
        tuple(_described(graph.tensors[n]) for n in graph.inputs),
        tuple(_described(graph.tensors[n]) for n in graph.outputs),
        0,
        "TFLite",
        sum(int(t.data.size) for t in graph.tensors.values() if t.data is not None and t.data.size > 1),
        graph_macs(graph),
        (),
        tuple(Row(name, count, (name,), dtype != "float32") for (name, dtype), count in sorted(counts.items())),
        tuple(problems),
        ("it computes with integers or bits: it joins a bundle as it is, and shares no trunk",),
    )


def _described(tensor: Tensor) -> str:
    return f"{tensor.name}: {tensor.dtype} {' x '.join(map(str, tensor.shape))}".rstrip()


def _as_written(source: str) -> onnx.ModelProto | None:
    try:
        with regular_file(source, LARGEST) as file:
            model = onnx.load_model_from_string(file.read())
        refuse_broken_text(model, source)
        return model
    except Exception:  # whatever it is, the reader names it
        return None


def _value(value: onnx.ValueInfoProto) -> str:
    kind = value.type.tensor_type
    dims = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in kind.shape.dim]
    types = onnx.TensorProto.DataType
    known = types.Name(kind.elem_type).lower() if kind.elem_type in types.values() else f"type {kind.elem_type}"
    return f"{value.name}: {known} {' x '.join(dims)}".rstrip()


def assumed_preparation(model: onnx.ModelProto, size: tuple[int, ...] | None, notes: list[str]) -> Preparation | None:
    """Pixels or numbers as they are, at the file's own size, ``size`` or a usual one; None for any other.

    ``notes`` takes a line for a size that was assumed.
    """
    inputs = fed_inputs(model.graph)
    if len(inputs) != 1:
        return None
    dims = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    if len(dims) != 4:
        return _array(inputs[0], dims, size, notes)
    if size is not None and len(size) != 2:
        raise UsageError(f"--size has {len(size)} numbers, and pictures have 2", "write for instance 224x224")
    channels, *have = (dims[3], *dims[1:3]) if dims[3] in (1, 3) and dims[1] not in (1, 3) else dims[1:]
    if channels not in (0, 1, 3):
        return None
    is_open = open_dimensions(inputs[0]) is not None
    wanted = size or (usual_size(model) if is_open else None) or DEFAULT
    height, width = (own or asked for own, asked in zip(have, wanted, strict=True))
    if is_open and size is None:
        notes.append(f"note: its size is open; it was checked at {height} x {width} pixels")
    channels = channels or 3
    return Preprocessing(height, width, "grey" if channels == 1 else "rgb", (0.0,) * channels, (1 / 255,) * channels)


def _array(
    value: onnx.ValueInfoProto, dims: Sequence[int], size: tuple[int, ...] | None, notes: list[str]
) -> ArrayPreparation | None:
    if len(dims) < 2:
        return None
    asked = size or (OPEN_LENGTH,) * (len(dims) - 1)
    if len(asked) != len(dims) - 1:
        raise UsageError(f"--size has {len(asked)} numbers, and the input has {len(dims) - 1}", "write one for each")
    shape = tuple(have or want for have, want in zip(dims[1:], asked, strict=True))
    if not all(dims[1:]) and size is None:
        notes.append(f"note: its size is open; it was checked at {' x '.join(map(str, shape))}")
    return ArrayPreparation(shape, values="int32" if value.type.tensor_type.elem_type in INDEX_TYPES else "float32")


def _further(model: onnx.ModelProto, source: str, known: Sequence[Problem]) -> list[Problem]:
    """What else is in the way besides what import said first, one line for each kind of operator."""
    said = " ".join(p.problem for p in known)
    by_operator: dict[str, Problem] = {}
    for node in model.graph.node:
        try:
            refuse_node(node, source)
            refuse_unknown_node(node, source)
        except UnsupportedOperatorError as error:
            by_operator.setdefault(node.op_type, Problem(error.problem, error.remedy))
    return [problem for kind, problem in by_operator.items() if f"{kind} '" not in said]


def _after_rewriting(network: Network, source: str) -> list[Problem]:
    """Recurrent layers that the rewrites could not write out."""
    try:
        single = onnx.ModelProto()
        single.CopyFrom(network.model)
        for value in single.graph.input:
            value.type.tensor_type.shape.dim[0].dim_value = 1
        rewritten = rewrite(single)
    except UnsupportedOperatorError as error:
        return [Problem(error.problem, error.remedy)]
    left = [n for n in rewritten.graph.node if n.op_type in ("LSTM", "GRU", "RNN")]
    return [
        Problem(
            f"{source}: {label(node)} is too long, or of a form that cannot be written out step by step",
            "export it for a sequence of at most 512 steps with constant weights",
        )
        for node in left[:1]
    ]


def _rows(nodes: Sequence[onnx.NodeProto]) -> tuple[Row, ...]:
    counts: collections.Counter[tuple[str, tuple[str, ...] | None]] = collections.Counter(
        (n.op_type if n.domain in ("", "ai.onnx") else f"{n.domain}.{n.op_type}", _becomes(n)) for n in nodes
    )
    return tuple(
        Row(operator, count, becomes, becomes is not None and all(o in INT8_OPERATORS for o in becomes))
        for (operator, becomes), count in sorted(counts.items(), key=lambda item: item[0][0])
    )


def _becomes(node: onnx.NodeProto) -> tuple[str, ...] | None:
    return tflite_operators(node) if node.domain in ("", "ai.onnx") else None
