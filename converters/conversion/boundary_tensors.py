"""Finds the ONNX tensors at the cuts and at the tasks' outputs in a converted float model.

The cut tensors are made outputs of the ONNX graph, so that the converter cannot fuse across them. Names alone do not
tell which tensor is which afterwards (converters rename, transpose, and may leave an output dangling), so every one is
proven by its values: both models run on the same random inputs.

Layout: a boundary of rank 4 ends up channel-last in the .tflite file; a task's output of another rank stays as in ONNX.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.conversion.cleanup import clean
from multigraft.converters.conversion.interpreters import Arrays, Taps, one_line
from multigraft.converters.conversion.rewriting import free_name, int32, prune, rename
from multigraft.converters.conversion.transposes import Permutation, is_cube, permutation_of
from multigraft.converters.network.steps import has_steps
from multigraft.errors import ConversionError
from multigraft.tensors.joining import Joined
from multigraft.tflite.graph import Graph, Model, Op

TOLERANCE = 1e-3
"""Largest difference over the range of the ONNX tensor at which two tensors count as the same."""

ABSOLUTE_TOLERANCE = 1e-4
"""Difference at which an output that the converter names is taken for what it is called: an output that hardly moves (a
sigmoid near 0) differs by much of its own range. The float model is compared layer by layer where that happened."""

_LAYOUTS: dict[int, tuple[Permutation, ...]] = {
    3: ((0, 1, 2), (0, 2, 1)),
    4: ((0, 2, 3, 1), (0, 1, 2, 3)),
    5: ((0, 1, 2, 3, 4), (0, 2, 3, 4, 1)),
}
"""By rank: how an ONNX tensor may lie in the .tflite file, the likeliest first."""

_CHANNEL_LAST: Permutation = (0, 2, 3, 1)

OF_SIGNAL: Permutation = (0, 2, 1)
"""The layout of a cut in a signal (batch, channels, length): (batch, 1, length, channels) in the .tflite file."""


@dataclass(frozen=True)
class FloatModel:
    """A converted graph whose boundaries are known.

    Attributes:
        graph: Float32; its outputs are the tasks' outputs.
        boundaries: ONNX name of every cut and every task output to its tensor in ``graph``.
        layouts: ONNX name to the permutation that takes the ONNX value to the .tflite value; a cut may have a height
            of 1 besides (:data:`OF_SIGNAL`).
        joined: ONNX name of every task output that was parted to how it is joined of boundaries: it is none itself.
    """

    graph: Graph
    boundaries: dict[str, str]
    layouts: dict[str, Permutation]
    joined: Mapping[str, Joined] = field(default_factory=dict)


def with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """``model`` with exactly the tensors ``names`` as outputs, types and shapes inferred.

    Raises:
        ConversionError: One of them is nowhere in the graph.
    """
    copy = onnx.shape_inference.infer_shapes(model)
    infos = {i.name: i for i in (*copy.graph.value_info, *copy.graph.output, *copy.graph.input)}
    outputs = []
    for name in dict.fromkeys(names):
        if name not in infos:
            raise ConversionError(f"the ONNX graph has no tensor {name!r} to cut at", "check the segments")
        outputs.append(infos[name])
    del copy.graph.output[:]
    copy.graph.output.extend(outputs)
    return copy


def locate(
    converted: Model,
    model: onnx.ModelProto,
    cuts: Sequence[str],
    task_outputs: Sequence[str],
    inputs: Sequence[Arrays],
) -> FloatModel:
    """Find ``cuts`` and ``task_outputs`` of ``model`` in ``converted`` and clean the graph up.

    Args:
        converted: What onnx2tf made of ``model`` with these tensors as outputs.
        inputs: Values of the ONNX inputs (NCHW) to compare on; two differing sets tell tensors apart well.

    Raises:
        ConversionError: A tensor cannot be identified.
    """
    return _located(*inputs_as_in_onnx(converted, model), converted, model, cuts, task_outputs, inputs)


def _located(
    graph: Graph,
    layouts: dict[str, Permutation],
    converted: Model,
    model: onnx.ModelProto,
    cuts: Sequence[str],
    task_outputs: Sequence[str],
    inputs: Sequence[Arrays],
) -> FloatModel:
    wanted = tuple(dict.fromkeys([*cuts, *task_outputs]))
    reference_runner = OnnxRunner(model, wanted)
    references = [reference_runner(feed) for feed in inputs]
    hints = converted.signatures[0].outputs if converted.signatures else {}
    found = _match(graph, references, [to_tflite_layout(feed, layouts) for feed in inputs], wanted, hints)
    graph = dataclasses.replace(graph, outputs=tuple(dict.fromkeys(tensor for tensor, _ in found.values())))
    for name in cuts:
        found[name] = _before_turn_of_signal(graph, *found[name])
    graph = dataclasses.replace(graph, outputs=tuple(dict.fromkeys(tensor for tensor, _ in found.values())))
    for name in cuts:
        graph = _put_on_the_path(graph, found[name][0])
    graph = clean(graph)
    for _ in range(len(wanted) + 1):
        graph, found = _strip_transposes(graph, found, task_outputs)
        graph = clean(graph)
    graph, found = _enforce_layout(graph, found, task_outputs)
    graph, found = _give_onnx_names(graph, found)
    outputs = tuple(dict.fromkeys(found[name][0] for name in task_outputs))
    return FloatModel(
        graph=prune(dataclasses.replace(graph, outputs=outputs)),
        boundaries={name: tensor for name, (tensor, _) in found.items()},
        layouts=layouts | {name: permutation for name, (_, permutation) in found.items()},
    )


def _before_turn_of_signal(graph: Graph, tensor: str, permutation: Permutation) -> tuple[str, Permutation]:
    """The channel-last tensor that a signal (rank 3 in ONNX) is turned from, which lies on the path.

    A convolution over one dimension becomes one over a height of 1. Its output is laid out as in ONNX on the side,
    for whoever looks at it, while the next convolution reads it as it is.
    """
    reshape = graph.producer(tensor)
    turn = graph.producer(reshape.inputs[0]) if reshape is not None and reshape.name == "RESHAPE" else None
    if reshape is None or turn is None or permutation_of(graph, turn) != (0, 3, 1, 2):
        return tensor, permutation
    source = turn.inputs[0]
    batch, height, length, channels = graph.tensors[source].shape
    if height != 1 or graph.tensors[tensor].shape != (batch, channels, length) or permutation != (0, 1, 2):
        return tensor, permutation
    return source, OF_SIGNAL


def inputs_as_in_onnx(converted: Model, model: onnx.ModelProto) -> tuple[Graph, dict[str, Permutation]]:
    """The converted main graph with its inputs named as in ONNX, and how each lies.

    A cube, whose shape allows both, was kept channel-first by the converter.

    Raises:
        ConversionError: An input cannot be identified.
    """
    graph = _with_onnx_inputs(converted, model)
    layouts = _input_layouts(graph, model)
    for name, permutation in layouts.items():
        if permutation == (0, 1, 2, 3):
            graph, layouts[name] = _from_channel_last(graph, name), _CHANNEL_LAST
    return graph, layouts


def _from_channel_last(graph: Graph, name: str) -> Graph:
    """The input ``name``, which lies channel-first, after a transpose from one that lies as all do."""
    first = graph.tensors[name]
    inner = dataclasses.replace(first, name=free_name(graph, f"{name}/channel_first"))
    graph = rename(graph, {name: inner.name})
    last = dataclasses.replace(first, shape=tuple(first.shape[p] for p in _CHANNEL_LAST))
    constant = int32(free_name(graph, f"{name}/perm"), (0, 3, 1, 2))
    return dataclasses.replace(
        graph,
        inputs=tuple(name if n == inner.name else n for n in graph.inputs),
        ops=(Op("TRANSPOSE", (name, constant.name), (inner.name,)), *graph.ops),
        tensors={**graph.tensors, name: last, constant.name: constant},
    )


class OnnxRunner:
    """Runs an ONNX model on one thread of onnxruntime, with the tensors ``outputs`` as its outputs."""

    def __init__(self, model: onnx.ModelProto, outputs: Sequence[str]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        if has_steps(model):
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.outputs = list(dict.fromkeys(outputs))
        source = with_outputs(model, self.outputs).SerializeToString()
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ConversionError(
                f"onnxruntime refuses the network: {one_line(error)}", "replace that operator in the network"
            ) from error

    def __call__(self, feed: Arrays) -> Arrays:
        """Values of the outputs for one input (NCHW), by name."""
        try:
            values = self._session.run(self.outputs, feed)
        except Exception as error:
            raise ConversionError(
                f"the network cannot be run on a frame: {one_line(error)}", "correct the network, which may fail in use"
            ) from error
        return dict(zip(self.outputs, values, strict=True))


def to_tflite_layout(values: Arrays, layouts: dict[str, Permutation]) -> Arrays:
    """Transpose ONNX values as ``layouts`` says; those without an entry stay."""
    return {n: np.ascontiguousarray(v.transpose(layouts[n])) if n in layouts else v for n, v in values.items()}


def relative_error(value: npt.NDArray[Any], reference: npt.NDArray[Any]) -> float:
    """Largest difference over the largest magnitude of ``reference``; infinite for differing shapes.

    Infinities and NaN have to be equal; magnitudes are those of the finite values.
    """
    if value.shape != reference.shape:
        return float("inf")
    finite = np.isfinite(reference)
    if not np.array_equal(value[~finite], reference[~finite], equal_nan=True):
        return float("inf")
    difference = np.abs(value[finite].astype(np.float64) - reference[finite].astype(np.float64)).max(initial=0.0)
    error = difference / max(float(np.abs(reference[finite]).max(initial=0.0)), 1e-12)
    return float(error) if np.isfinite(error) else float("inf")


_Found = dict[str, tuple[str, Permutation]]


def _with_onnx_inputs(converted: Model, model: onnx.ModelProto) -> Graph:
    """The main graph with its inputs named as in ONNX."""
    graph = converted.main
    onnx_names = [i.name for i in model.graph.input]
    arguments = dict(converted.signatures[0].inputs) if converted.signatures else {}
    if set(arguments) != set(onnx_names):
        if len(onnx_names) != 1 or len(graph.inputs) != 1:
            raise ConversionError(f"onnx2tf renamed the inputs {onnx_names} to {sorted(arguments)}", "give plain names")
        arguments = {onnx_names[0]: graph.inputs[0]}
    taken = {n: f"{n}/of_converter" for n in onnx_names if n in graph.tensors and n not in graph.inputs}
    return rename(graph, taken | {tensor: name for name, tensor in arguments.items()})


def _input_layouts(graph: Graph, model: onnx.ModelProto) -> dict[str, Permutation]:
    layouts = {}
    for info in model.graph.input:
        shape = tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
        choices = _LAYOUTS.get(len(shape), (tuple(range(len(shape))),))
        for permutation in choices[::-1] if is_cube(shape) else choices:
            if tuple(shape[p] for p in permutation) == graph.tensors[info.name].shape:
                layouts[info.name] = permutation
                break
        else:
            raise ConversionError(f"input {info.name!r} became {graph.tensors[info.name].shape} from {shape}")
    return layouts


def _match(
    graph: Graph, references: Sequence[Arrays], inputs: Sequence[Arrays], wanted: Sequence[str], hints: Any
) -> _Found:
    candidates = [n for op in graph.ops for n in op.outputs if graph.tensors[n].dtype == "float32"]
    taps = Taps(graph, candidates)
    values = [taps(feed) for feed in inputs]
    found: _Found = {}
    for name in wanted:
        reference = [r[name] for r in references]
        hinted = hints.get(name)
        order = [hinted] if hinted in values[0] else []
        order += [c for c in candidates if graph.tensors[c].stored_bytes == reference[0].nbytes]
        matches = (m for c in order if (m := fit([v[c] for v in values], reference, c)) is not None)
        best = next(iter(sorted(matches, key=lambda m: (m[0] > TOLERANCE / 10, order.index(m[1])))), None)
        if best is None and hinted in values[0]:
            best = fit([v[hinted] for v in values], reference, hinted, ABSOLUTE_TOLERANCE)
        if best is None:
            raise ConversionError(
                f"tensor {name!r} is not to be found in what onnx2tf made of the network",
                "cut at another tensor, or see whether the float model equals the ONNX model at all",
            )
        found[name] = best[1], best[2]
    return found


def fit(
    values: Sequence[npt.NDArray[Any]],
    reference: Sequence[npt.NDArray[Any]],
    candidate: str,
    absolute: float = 0.0,
) -> tuple[float, str, Permutation] | None:
    """The layout in which ``values`` are ``reference``, with the error; None if there is none.

    A difference of at most ``absolute`` counts as equal, too.
    """
    rank = reference[0].ndim
    for permutation in _LAYOUTS.get(rank, (tuple(range(rank)),)):
        laid_out = [(v, r.transpose(permutation)) for v, r in zip(values, reference, strict=True)]
        errors = [relative_error(v, r) for v, r in laid_out]
        if all(
            e <= TOLERANCE or (v.shape == r.shape and float(np.abs(v - r).max(initial=0.0)) <= absolute)
            for e, (v, r) in zip(errors, laid_out, strict=True)
        ):
            return max(errors), candidate, permutation
    return None


def _put_on_the_path(graph: Graph, tensor: str) -> Graph:
    """Let what reads the source of the RESHAPE that writes ``tensor`` read ``tensor``, where its shape does not matter.

    A fully connected layer takes any shape, so converters leave a Flatten before it out, and compute one that is an
    output too beside the path. A cut there has to lie on the path.
    """
    reshape = graph.producer(tensor)
    if reshape is None or reshape.name != "RESHAPE" or graph.consumers(tensor):
        return graph
    source = reshape.inputs[0]
    ops = [reshape] if graph.producer(source) is None else []
    for op in graph.ops:
        if op is reshape:
            continue
        if op.name == "FULLY_CONNECTED" and op.inputs[0] == source and not op.options.get("keep_num_dims"):
            op = dataclasses.replace(op, inputs=(tensor, *op.inputs[1:]))
        ops.append(op)
        if source in op.outputs:
            ops.append(reshape)
    return dataclasses.replace(graph, ops=tuple(ops))


def _strip_transposes(graph: Graph, found: _Found, task_outputs: Sequence[str]) -> tuple[Graph, _Found]:
    """Take boundaries before a transpose at their end, where the layout there is the wanted one."""
    stripped = dict(found)
    for name, (tensor, permutation) in found.items():
        op = graph.producer(tensor)
        last = permutation_of(graph, op) or _turn_of_one_channel(graph, op)
        if op is None or last is None or len(last) != len(permutation) or op.inputs[0] in graph.inputs:
            continue
        inverse = np.argsort(last)
        before = tuple(permutation[i] for i in inverse)
        if name not in task_outputs or before == _CHANNEL_LAST:
            stripped[name] = op.inputs[0], before
    outputs = tuple(dict.fromkeys(tensor for tensor, _ in stripped.values()))
    return dataclasses.replace(graph, outputs=outputs), stripped


def _turn_of_one_channel(graph: Graph, op: Op | None) -> Permutation | None:
    """The permutation that a RESHAPE stands for, which converters write where a map has one channel."""
    if op is None or op.name != "RESHAPE":
        return None
    before, after = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    for turn in ((0, 3, 1, 2), (0, 2, 3, 1)):
        if len(before) == len(after) == 4 and 1 in (before[1], before[3]) and after == tuple(before[p] for p in turn):
            return turn
    return None


def _enforce_layout(graph: Graph, found: _Found, task_outputs: Sequence[str]) -> tuple[Graph, _Found]:
    """Add a transpose where a task's output lies in another layout than promised."""
    enforced = dict(found)
    for name in task_outputs:
        tensor, permutation = found[name]
        wanted = _CHANNEL_LAST if len(permutation) == 4 else tuple(range(len(permutation)))
        if permutation == wanted:
            continue
        perm = tuple(permutation.index(w) for w in wanted)
        source = graph.tensors[tensor]
        result = dataclasses.replace(
            source, name=free_name(graph, f"{name}/laid_out"), shape=tuple(source.shape[p] for p in perm)
        )
        constant = int32(free_name(graph, f"{name}/perm"), perm)
        graph = dataclasses.replace(
            graph,
            ops=(*graph.ops, Op("TRANSPOSE", (tensor, constant.name), (result.name,))),
            tensors={**graph.tensors, result.name: result, constant.name: constant},
        )
        enforced[name] = result.name, wanted
    return graph, enforced


def _give_onnx_names(graph: Graph, found: _Found) -> tuple[Graph, _Found]:
    """Name each boundary tensor as in ONNX; one that stands for several keeps the first name."""
    first: dict[str, str] = {}
    for name, (tensor, _) in found.items():
        first.setdefault(tensor, name)
    names = {tensor: name for tensor, name in first.items() if tensor != name}
    taken = {n: free_name(graph, f"{n}/of_converter") for n in names.values() if n in graph.tensors and n not in names}
    graph = rename(graph, taken | names)
    return graph, {name: (first[tensor], permutation) for name, (tensor, permutation) in found.items()}
