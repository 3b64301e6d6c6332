"""A trained network as the converters hold it: a clean ONNX graph, its cut points, and a way to run it on batches."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.crops import On
from multigraft.answers.kind import Kind
from multigraft.answers.own_format import OwnFormat
from multigraft.converters.network.alive import alive_behind
from multigraft.converters.network.batching import batched
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.steps import has_steps
from multigraft.errors import InputError
from multigraft.tensors.preparation import Preparation, prepare_frames, take_same_frames

Array = npt.NDArray[np.float32]

ACTIVATIONS = frozenset(
    (
        "Relu",
        "Clip",
        "LeakyRelu",
        "PRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Elu",
        "Selu",
        "Softplus",
        "Gelu",
        "Erf",
        "Mish",
        "Swish",
    )
)
"""Operators that a share point never separates from the linear layer before them."""

LINEAR = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"))
IR_VERSION = 10
RUN_BATCH = 64
RUN_BATCH_MACS = 2_000_000_000
RUN_BATCH_BYTES = 1 << 24
"""Frames run at once: fewer of a large network. Larger tensors are got from the kernel every time: 1.6 x as slow."""


@dataclass(frozen=True)
class CutPoint:
    """A tensor that every path from the input to the outputs passes through.

    Attributes:
        name: ONNX tensor name, which starts with the network's.
        shape: Without the batch: (channels, height, width), (channels, length), (features,) or (tokens, features).
        node_index: Index of the node that writes it.
        weights: Number of parameters of all nodes up to and including it.
        macs: Multiply-accumulates per frame up to and including it.
    """

    name: str
    shape: tuple[int, ...]
    node_index: int
    weights: int
    macs: int

    @property
    def label(self) -> str:
        """The tensor's name in the file it came from."""
        return self.name.split("/", 1)[1]


class Network:
    """One task's network: constants folded, batch norms folded, one input (pictures: NCHW, float32), nodes in order.

    Every tensor name gets the task's name in front (``digit/relu1``), so that networks can be joined in one graph.

    The batch dimension is symbolic where the graph allows it, so that frames run in minibatches.

    Args:
        name: The task's name.
        model: A clean model whose first input dimension is 1 or symbolic. It is copied.
        preprocessing: What the input expects of a frame.
        kind: What the outputs mean.
        labels: One per class, or empty.
        source_sha256: Digest of the file it came from.
        metadata: What the file says of itself.

    Attributes:
        answer: How the outputs are decoded; None where ``kind`` says all.
        on: Whose boxes the task looks at; None where it looks at whole frames.

    Raises:
        InputError: The graph has not exactly one input, or onnxruntime refuses it.
    """

    def __init__(
        self,
        name: str,
        model: onnx.ModelProto,
        preprocessing: Preparation,
        kind: Kind = "classification",
        labels: Sequence[str] = (),
        source_sha256: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.preprocessing = preprocessing
        self.kind = kind
        self.labels = tuple(labels)
        self.source_sha256 = source_sha256
        self.metadata = dict(metadata or {})
        self.answer: AnswerFormat | OwnFormat | None = None
        self.on: On | None = None
        self.model = self._own(model)
        graph = self.model.graph
        self.constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        inputs = [i.name for i in graph.input if i.name not in self.constants]
        if len(inputs) != 1:
            have = ", ".join(inputs)
            raise InputError(f"network {name!r} has {len(inputs)} inputs ({have})", "give it one input")
        self.input = inputs[0]
        self.outputs = tuple(o.name for o in graph.output)
        self.nodes = list(graph.node)

    def _own(self, model: onnx.ModelProto) -> onnx.ModelProto:
        return prefixed(batched(model), f"{self.name}/")

    def sees_frames_of(self, other: Network) -> bool:
        """Whether one frame can serve both: of one kind, and crops of the same boxes."""
        return self.on == other.on and take_same_frames(self.preprocessing, other.preprocessing)

    @property
    def weights(self) -> int:
        """Number of parameters of all linear layers and other float constants."""
        return sum(node_weights(n, self.constants) for n in self.nodes)

    @functools.cached_property
    def macs(self) -> int:
        """Multiply-accumulates per frame."""
        return sum(node_macs(n, self.constants, self.shapes) for n in self.nodes)

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor for one frame, without the batch dimension, measured by running once.

        Where positions are merged into the first dimension, as around a Gemm over positions, that dimension is kept.
        """
        return {name: shape[1:] if shape[:1] == (1,) else shape for name, shape in self._whole_shapes.items()}

    def whole_shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor for one frame, with the batch dimension where it has one."""
        return self._whole_shapes[name]

    def has_frames(self, name: str) -> bool:
        """Whether a tensor's first dimension is the batch alone."""
        return self._whole_shapes.get(name, ())[:1] == (1,)

    @functools.cached_property
    def _whole_shapes(self) -> dict[str, tuple[int, ...]]:
        names = [o for n in self.nodes for o in n.output if o]
        zero = np.zeros((1, *self.input_shape), self.input_dtype)
        values = self._session(tuple(names)).run(names, {self.input: zero})
        return {self.input: zero.shape} | {k: tuple(v.shape) for k, v in zip(names, values, strict=True)}

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return next(int(o.version) for o in self.model.opset_import if o.domain in ("", "ai.onnx"))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of the input without the batch; pictures are (channels, height, width)."""
        dims = next(i for i in self.model.graph.input if i.name == self.input).type.tensor_type.shape.dim
        return tuple(d.dim_value for d in dims[1:])

    @functools.cached_property
    def input_dtype(self) -> np.dtype[Any]:
        """float32, or int32 for whole numbers."""
        kind = next(i for i in self.model.graph.input if i.name == self.input).type.tensor_type.elem_type
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind))

    @functools.cached_property
    def cut_points(self) -> tuple[CutPoint, ...]:
        """Candidate share points from input to output, one for each stretch that holds at least one linear layer."""
        return tuple(_cut_points(self))

    def cut_point(self, name: str) -> CutPoint:
        """The cut point of that name, or by 1-based position from the input.

        Raises:
            InputError: There is none; the message lists those there are.
        """
        for position, point in enumerate(self.cut_points, 1):
            if name in (point.name, point.label, str(position)):
                return point
        have = ", ".join(p.label for p in self.cut_points)
        raise InputError(f"network {self.name!r} has no cut point {name!r}", f"choose from: {have}")

    def prepare(self, frames: Frames) -> Array:
        """Frames to this network's input, (frames, *input shape), float32."""
        return prepare_frames(frames, self.preprocessing)

    def run(self, x: Array, names: Sequence[str] | None = None) -> dict[str, npt.NDArray[Any]]:
        """Run on ``x`` (frames, *input shape) in minibatches; returns the tensors of ``names``."""
        names = tuple(self.outputs if names is None else names)
        session = self._session(names)
        size = self.batch
        parts = [session.run(list(names), {self.input: x[i : i + size]}) for i in range(0, len(x), size)]
        return {n: np.concatenate([p[k] for p in parts]) for k, n in enumerate(names)}

    @functools.cached_property
    def batch(self) -> int:
        """Frames to run at once."""
        largest = max(4 * int(np.prod(shape)) for shape in self.shapes.values())
        most = min(RUN_BATCH, RUN_BATCH_MACS // max(self.macs, 1), RUN_BATCH_BYTES // max(largest, 1))
        return max(1, most) if self.is_batched else 1

    @functools.cached_property
    def is_batched(self) -> bool:
        """Whether a batch of frames gives what single frames give."""
        random = np.random.default_rng(0)
        x: npt.NDArray[Any] = random.normal(size=(2, *self.input_shape)).astype(np.float32)
        if self.input_dtype.kind == "i":
            x = random.integers(0, 2, x.shape, np.int32)
        session = self._session(self.outputs)
        try:
            both = session.run(list(self.outputs), {self.input: x})
        except Exception:
            return False
        one = session.run(list(self.outputs), {self.input: x[1:]})
        pairs = zip(both, one, strict=True)
        return all(len(b) == 2 and np.allclose(b[1], o[0], rtol=1e-3, atol=1e-3) for b, o in pairs)

    @functools.lru_cache(maxsize=8)  # noqa: B019 - a network lives as long as the command
    def _session(self, names: tuple[str, ...]) -> ort.InferenceSession:
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
        return session_of(model, self.name)


def prefixed(model: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """A copy in which every tensor and node name starts with ``prefix``, so that networks can be joined."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph

    def renamed(name: str) -> str:
        return name if not name or name.startswith(prefix) else prefix + name

    for node in graph.node:
        node.name = renamed(node.name or node.output[0])
        node.input[:] = [renamed(i) for i in node.input]
        node.output[:] = [renamed(o) for o in node.output]
    for value in [*graph.initializer, *graph.input, *graph.output, *graph.value_info]:
        value.name = renamed(value.name)
    name_nodes_once(graph)
    return copy


def name_nodes_once(graph: onnx.GraphProto) -> None:
    """Number the names of nodes that several have, in place: onnxruntime wants each once."""
    seen: set[str] = set()
    for node in graph.node:
        name, number = node.name, 1
        while node.name and node.name in seen:
            node.name, number = f"{name}_{number}", number + 1
        seen.add(node.name)


def session_of(model: onnx.ModelProto, name: str) -> ort.InferenceSession:
    """An onnxruntime session on the CPU.

    Raises:
        InputError: onnxruntime refuses the model; its reason is in the message.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # The arena keeps each session's peak for as long as the session lives.
    options.enable_cpu_mem_arena = False
    # Waiting threads would take the cores from numpy's, which work between two runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if has_steps(model) or any(node.op_type == "If" for node in model.graph.node):
        # Where a constant decides, its optimiser moves the branch out, and now and then ends the process over it.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"network {name!r} does not run in onnxruntime ({reason})", "export it again") from error


def model_of(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    """A model around ``graph`` with an IR version that every supported onnxruntime reads."""
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=IR_VERSION)


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    """A node's attributes as Python values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def node_weights(node: onnx.NodeProto, constants: dict[str, npt.NDArray[np.generic]]) -> int:
    """Number of float parameters a node holds; scalars and shapes do not count."""
    parameters = (constants[i] for i in node.input if i in constants)
    return sum(c.size for c in parameters if c.dtype.kind == "f" and c.size > 1)


def node_macs(
    node: onnx.NodeProto, constants: dict[str, npt.NDArray[np.generic]], shapes: dict[str, tuple[int, ...]]
) -> int:
    """Multiply-accumulates of one frame; only linear layers count."""
    if node.op_type not in LINEAR or node.op_type == "BatchNormalization" or node.input[1] not in constants:
        return 0
    weight = constants[node.input[1]].shape
    if node.op_type == "Conv":
        return int(np.prod(shapes[node.output[0]]) * np.prod(weight[1:]))
    if node.op_type == "ConvTranspose":
        return int(np.prod(shapes[node.input[0]]) * np.prod(weight[1:]))
    rows = int(np.prod(shapes[node.output[0]][:-1], dtype=np.int64))
    return rows * int(np.prod(weight))


def _cut_points(network: Network) -> Iterable[CutPoint]:
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in network.nodes:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    alive = alive_behind(network.nodes, (network.input,), network.outputs)
    weights = macs = 0
    candidate: CutPoint | None = None
    for index, (node, tensors) in enumerate(zip(network.nodes, alive, strict=True)):
        is_linear = node.op_type in LINEAR and node_weights(node, network.constants) > 0
        if is_linear and candidate is not None:
            yield candidate
            candidate = None
        weights += node_weights(node, network.constants)
        macs += node_macs(node, network.constants, network.shapes)
        if len(tensors) != 1 or not weights:
            continue
        (name,) = tensors
        after = consumers.get(name, [])
        if not after or name in network.outputs or any(c.op_type in ACTIVATIONS for c in after):
            continue
        shape = network.shapes.get(name)
        if shape and network.has_frames(name):
            candidate = CutPoint(name, shape, index, weights, macs)
