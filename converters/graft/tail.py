"""What remains of a grafted target behind the donor's tensor, as nodes that can be run and put into a larger graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.descent.common_part import CommonPart
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Network, model_of, session_of

FRAMES_AT_ONCE = 256
"""Features of so many frames are in memory at once."""


@dataclass(frozen=True, eq=False)
class Tail:
    """What remains of the target behind the donor's tensors: adapter nodes, then its own layers.

    Two tails are equal where they are one: arrays of constants cannot be compared as plans compare their grafts.

    Attributes:
        sources: The donor's tensors (in the donor's naming) that it reads or answers with; its input may be one.
        nodes: In order.
        constants: Weights by name; those the refit made and those kept from the original.
        outputs: The target's answers, in order: tensors of its own, and of ``sources`` where the donor computes them.
        opset: The nodes' version of the operator set.
        batch: Frames it runs at once.
    """

    sources: tuple[str, ...]
    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, npt.NDArray[Any]]
    outputs: tuple[str, ...]
    opset: int
    batch: int = 1

    @property
    def source(self) -> str:
        """The donor's tensor, of a tail that reads one."""
        (source,) = self.sources
        return source

    @property
    def own_outputs(self) -> tuple[str, ...]:
        """Those of ``outputs`` that it computes itself."""
        return tuple(o for o in self.outputs if o not in self.sources)

    def run(self, features: Mapping[str, npt.NDArray[Any]] | npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """The target's outputs from the donor's features, by tensor (frames, *shape); those of one may come alone."""
        if not isinstance(features, Mapping):
            features = {self.source: features}
        made: dict[str, list[npt.NDArray[Any]]] = {o: [] for o in self.own_outputs}
        read = {name: features[name] for name in self.read}
        if made:
            session = session_of(self.model({n: v.ndim for n, v in read.items()}, self._whole(read)), "graft")
            for i in range(0, len(next(iter(read.values()))), self.batch):
                part = {n: v[i : i + self.batch] for n, v in read.items()}
                for name, value in zip(made, session.run(list(made), part), strict=True):
                    made[name].append(value)
        return [np.concatenate(made[o]) if o in made else features[o] for o in self.outputs]

    def model(self, ranks: Mapping[str, int], whole: Collection[str] = ()) -> onnx.ModelProto:
        """As a network of its own.

        Args:
            ranks: Dimensions of every tensor that it reads, that of the frames included.
            whole: Those of them that hold whole numbers, int32.
        """
        kinds = {name: onnx.TensorProto.INT32 if name in whole else onnx.TensorProto.FLOAT for name in ranks}
        graph = onnx.helper.make_graph(
            list(self.nodes),
            "tail",
            [onnx.helper.make_tensor_value_info(n, kinds[n], [None] * ranks[n]) for n in self.read],
            [onnx.ValueInfoProto(name=o) for o in self.own_outputs],
            [onnx.numpy_helper.from_array(v, k) for k, v in self.constants.items()],
        )
        return model_of(graph, self.opset)

    @property
    def read(self) -> tuple[str, ...]:
        """Those of ``sources`` that its nodes read."""
        read = {i for n in self.nodes for i in n.input}
        return tuple(s for s in self.sources if s in read)

    @staticmethod
    def _whole(read: Mapping[str, npt.NDArray[Any]]) -> tuple[str, ...]:
        return tuple(name for name, value in read.items() if value.dtype.kind == "i")


def grafted_answers(donor: Network, tail: Tail, frames: Frames) -> list[npt.NDArray[Any]]:
    """The target's outputs on frames, through the donor's trunk; a part of the frames at a time, for memory."""
    parts = []
    for i in range(0, len(frames), FRAMES_AT_ONCE):
        parts.append(tail.run(features_of(donor, tail, frames[i : i + FRAMES_AT_ONCE])))
    return [np.concatenate(output) for output in zip(*parts, strict=True)]


def features_of(donor: Network, tail: Tail, frames: Frames) -> dict[str, npt.NDArray[Any]]:
    """What a tail reads of its donor on frames, by tensor."""
    x = donor.prepare(frames)
    computed = donor.run(x, [s for s in tail.sources if s != donor.input])
    return {s: computed[s].astype(np.float32) if s in computed else x for s in tail.sources}


def tail_behind(common: CommonPart, target: Network) -> Tail:
    """What a target keeps behind what it has in common with a donor."""
    return Tail(common.sources, common.nodes, common.constants, common.outputs, target.opset, target.batch)


def tail_of(
    nodes: tuple[onnx.NodeProto, ...] | list[onnx.NodeProto],
    constants: dict[str, npt.NDArray[Any]],
    sources: tuple[str, ...],
    target: Network,
    outputs: tuple[str, ...] | None = None,
) -> Tail:
    """The tail of these nodes, with those of the constants that it reads."""
    used = {i for n in nodes for i in n.input}
    return Tail(
        sources,
        tuple(nodes),
        {k: v for k, v in constants.items() if k in used},
        target.outputs if outputs is None else outputs,
        target.opset,
        target.batch,
    )


def renamed_inputs(
    nodes: tuple[onnx.NodeProto, ...] | list[onnx.NodeProto], names: Mapping[str, str]
) -> tuple[onnx.NodeProto, ...]:
    """Copies of ``nodes`` that read other tensors in the place of those of ``names``."""
    renamed = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(i, i) for i in node.input]
        renamed.append(copy)
    return tuple(renamed)
