"""What two networks compute alike, branch by branch: every tensor whose whole descent is the same.

Nodes are compared from the input on, each with those of the donor that read the same tensors. Names, the order of
nodes, attributes that stand at their default and a batch norm's place play no part; the channels of a layer may come in
another order, which is followed through whatever reads them. The order of the donor stands, so that nothing of it
changes, and what the target keeps for itself is rewritten to read it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.descent.channel_order import Order, Reordered, output_rows, reordered, row_order, with_rows
from multigraft.converters.descent.same_nodes import Key, are_same, computed_by, constants_of, in_order, reads
from multigraft.converters.network.frontier import Frontier
from multigraft.converters.network.leading_nodes import leading_nodes
from multigraft.converters.network.network import LINEAR, Network, node_macs, node_weights

PLUMBING = frozenset(
    ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Identity", "Cast", "Shape", "Gather")
)
"""Operators that cost nothing and say how data lies: a frontier comes before them, and each network keeps its own."""


@dataclass(frozen=True)
class CommonPart:
    """What a donor and a target share by descent.

    Attributes:
        donor_point: Where it ends in the donor.
        target_point: Where it ends in the target, tensor by tensor.
        sources: The donor's tensors that the target reads or answers with; its input may be one.
        nodes: What the target keeps, reading these.
        constants: Of the nodes.
        outputs: The target's answers, in order; one that the donor computes, too, is the donor's tensor.
        matched: Target's tensor to the donor's that holds the same.
        turned: Those of ``matched`` whose channels come in another order.
    """

    donor_point: Frontier
    target_point: Frontier
    sources: tuple[str, ...]
    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, npt.NDArray[Any]]
    outputs: tuple[str, ...]
    matched: Mapping[str, str]
    turned: frozenset[str]


def common_part(donor: Network, target: Network) -> CommonPart | None:
    """The largest common part; None where no layer with weights is in it.

    Args:
        donor: Whose tensors are shared.
        target: Which sees the same input.
    """
    if donor.input_shape != target.input_shape or donor.input_dtype != target.input_dtype:
        return None
    if any(a.HasField("g") or a.graphs for n in target.nodes for a in n.attribute):
        return None
    alike = _Alike(donor, target)
    return _Ending(donor, target, alike).common_part()


class _Alike:
    """Every tensor of the target that the donor has, too.

    Attributes:
        same: Target's tensor to the donor's.
        orders: Target's tensor to the order in which the donor, or what reads the donor, has it.
        nodes: Target's node by the tensor it writes first, to how it is rewritten; None where it needs its inputs in
            their own order.
    """

    def __init__(self, donor: Network, target: Network) -> None:
        self._donor, self._target = donor, target
        self._known: dict[Key, list[onnx.NodeProto]] = {}
        self._first: dict[str, str] = {}
        self.same: dict[str, str] = {target.input: donor.input}
        self.orders: dict[str, Order] = {}
        self.nodes: dict[str, Reordered | None] = {}
        for node in donor.nodes:
            self._learn(node)
        for node in target.nodes:
            self._compare(node)

    def _learn(self, node: onnx.NodeProto) -> None:
        """Know a node of the donor; one that computes what another does stands for the same tensors."""
        network = self._donor
        if node.op_type == "Identity" and node.input[0] not in network.constants:
            self._first[node.output[0]] = self._first.get(node.input[0], node.input[0])
            return
        key = self._key(network, node, self._first)
        mine = in_order(node, constants_of(network, node, {}))
        for other in self._known.setdefault(key, []):
            if are_same(in_order(other, constants_of(network, other, {})), mine):
                self._first |= {a: b for a, b in zip(node.output, other.output, strict=True) if a}
                return
        self._known[key].append(node)

    def _key(self, network: Network, node: onnx.NodeProto, names: Mapping[str, str]) -> Key:
        named = [None if i in network.constants else names.get(i, i) for i in node.input]
        return (*reads(node, named), computed_by(network, node))

    def _compare(self, node: onnx.NodeProto) -> None:
        target = self._target
        turned_answer = node.output[0] in target.outputs and node.input[0] in self.orders
        if node.op_type == "Identity" and node.input[0] in self.same and not turned_answer:
            self.same[node.output[0]] = self.same[node.input[0]]
            if node.input[0] in self.orders:
                self.orders[node.output[0]] = self.orders[node.input[0]]
            self.nodes[node.output[0]] = Reordered()
            return
        orders = {k: self.orders[i] for k, i in enumerate(node.input) if i in self.orders}
        is_answer = not set(target.outputs).isdisjoint(node.output)
        way: Reordered | None = Reordered()
        if orders:
            way = reordered(node, orders, target)
            if way is not None and is_answer and any(not o.is_identity for o in way.outputs.values()):
                way = None
        if way is not None and all(i in self.same or i in target.constants or not i for i in node.input):
            way = self._matched(node, way, is_answer)
        self.nodes[node.output[0]] = way
        if way is not None:
            found = {node.output[k]: order for k, order in way.outputs.items() if not order.is_identity}
            self.orders |= found

    def _matched(self, node: onnx.NodeProto, way: Reordered, is_answer: bool) -> Reordered:
        """Find the node among the donor's; the way to write it changes where its channels come in another order."""
        target = self._target
        named = [None if i in target.constants else self.same.get(i, "") for i in node.input]
        theirs = self._known.get((*reads(node, named), computed_by(target, node)), [])
        mine = constants_of(target, node, way.constants)
        wanted = [(other, constants_of(self._donor, other, {})) for other in theirs]
        for other, constants in wanted:
            if are_same(in_order(other, constants), in_order(node, mine)):
                self._note(node, other)
                return way
        rows = None if is_answer or way.outputs else output_rows(node, mine)
        for other, constants in wanted:
            if rows is None or [c is None or c.shape for c in mine] != [c is None or c.shape for c in constants]:
                continue
            others = output_rows(other, constants)
            index = None if others is None else row_order(others, rows)
            if index is None:
                continue
            moved = with_rows(node, mine, index)
            if are_same([moved.get(k, c) for k, c in enumerate(mine)], constants):
                self._note(node, other)
                axis = len(target.whole_shape(node.output[0])) - 1 if node.op_type == "MatMul" else 1
                return Reordered(dict(moved), {0: Order(axis, index)})
        return way

    def _note(self, node: onnx.NodeProto, other: onnx.NodeProto) -> None:
        self.same |= {a: b for a, b in zip(node.output, other.output, strict=False) if a and b}


class _Ending:
    """Where the common part ends, and what the target keeps behind it."""

    def __init__(self, donor: Network, target: Network, alike: _Alike) -> None:
        self._donor, self._target, self._alike = donor, target, alike
        self._writers = {o: n for n in target.nodes for o in n.output if o}
        self._plumbing = {o for n in donor.nodes if is_plumbing(donor, n) for o in n.output}
        self._floats = floats_of(donor)

    def common_part(self) -> CommonPart | None:
        donor, target, same = self._donor, self._target, self._alike.same
        answers: list[str] = []
        for output in target.outputs:
            is_there = output in same and output not in self._alike.orders and same[output] not in answers
            answers.append(same[output] if is_there and same[output] in self._floats else output)
        kept = self._kept({o for o, a in zip(target.outputs, answers, strict=True) if o == a})
        writes = {o for n in kept for o in n.output}
        gone = [n for n in target.nodes if writes.isdisjoint(n.output)]
        if not any(n.op_type in LINEAR and node_weights(n, target.constants) for n in gone):
            return None
        writing = _Writing(target, self._alike, self._ends)
        nodes = [made for node in kept for made in writing.nodes(node)]
        read = {i for n in nodes for i in n.input} | set(answers)
        order = {donor.input: -1} | {o: k for k, n in enumerate(donor.nodes) for o in n.output if o}
        sources = tuple(sorted((i for i in read if i in order), key=order.__getitem__))
        constants = {k: v for k, v in (target.constants | writing.constants).items() if k in read}
        ends = tuple(s for s in sources if s != donor.input)
        back = {b: a for a, b in reversed(same.items())}
        mine = tuple(back[s] for s in ends)
        leading = leading_nodes(donor.nodes, ends)
        return CommonPart(
            frontier_of(donor, ends, leading),
            frontier_of(target, mine, gone),
            sources,
            tuple(nodes),
            constants,
            tuple(answers),
            same,
            frozenset(same.keys() & self._alike.orders.keys()),
        )

    def _ends(self, tensor: str) -> bool:
        """Whether what reads a tensor of the target may read the donor's in its place."""
        if tensor == self._target.input:
            return True
        there = self._alike.same.get(tensor)
        return there is not None and there in self._floats and there not in self._plumbing

    def _kept(self, wanted: set[str]) -> list[onnx.NodeProto]:
        kept = []
        for node in reversed(self._target.nodes):
            if not wanted.isdisjoint(node.output):
                kept.append(node)
                wanted |= {i for i in node.input if i in self._writers and not self._ends(i)}
        return kept[::-1]


class _Writing:
    """The nodes that a target keeps, as they read the donor's tensors."""

    def __init__(self, target: Network, alike: _Alike, ends: Callable[[str], bool]) -> None:
        self._target, self._alike, self._ends = target, alike, ends
        self._put_back: dict[str, str] = {}
        self.constants: dict[str, npt.NDArray[Any]] = {}

    def nodes(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """``node``, after nodes that put back the channels of what it has to read in its own order."""
        way, made = self._alike.nodes[node.output[0]], []
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for position, name in enumerate(node.input):
            read = self._alike.same[name] if self._ends(name) else name
            if way is None and name in self._alike.orders:
                if name not in self._put_back:
                    self._put_back[name] = f"{name}/in_order"
                    made.append(self._back(name, read))
                read = self._put_back[name]
            copy.input[position] = read
        for position, value in sorted((way.constants if way is not None else {}).items()):
            name = f"{node.output[0]}/in_order/{position}"
            self.constants[name] = value
            if position < len(copy.input):
                copy.input[position] = name
            else:
                copy.input.append(name)
        return [*made, copy]

    def _back(self, name: str, read: str) -> onnx.NodeProto:
        order = self._alike.orders[name]
        index = f"{name}/in_order/index"
        self.constants[index] = np.argsort(order.index)
        back = f"{name}/in_order"
        return onnx.helper.make_node("Gather", [read, index], [back], back, axis=order.axis)


def is_plumbing(network: Network, node: onnx.NodeProto) -> bool:
    """Whether a node only says how data lies."""
    return node.op_type in PLUMBING and not node_weights(node, network.constants)


def frontier_of(network: Network, ends: tuple[str, ...], leading: list[onnx.NodeProto]) -> Frontier:
    """The frontier of some tensors, and of the nodes that lead to them."""
    last = {o: k for k, n in enumerate(network.nodes) for o in n.output if o}
    return Frontier(
        " + ".join(ends),
        network.shapes[ends[0]],
        max(last[e] for e in ends),
        sum(node_weights(n, network.constants) for n in leading),
        sum(node_macs(n, network.constants, network.shapes) for n in leading),
        ends,
        tuple(network.shapes[e] for e in ends),
    )


@functools.lru_cache(maxsize=64)
def floats_of(network: Network) -> set[str]:
    """Tensors of float32 with the frames first: what can cross from one segment to the next."""
    graph = onnx.shape_inference.infer_shapes(network.model).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in [*graph.value_info, *graph.output]}
    return {
        o
        for n in network.nodes
        for o in n.output
        if o and network.has_frames(o) and kinds.get(o, onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT
    }
