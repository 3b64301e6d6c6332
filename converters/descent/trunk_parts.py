"""A donor in parts that can run on their own: what all tasks on it need, what some need, and its own head.

What is left of a grafted network is parted likewise where other tasks stand on it in turn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from multigraft.converters.network.leading_nodes import leading_nodes


@dataclass(frozen=True)
class TrunkPart:
    """Nodes that the same tasks need.

    Attributes:
        tasks: They, without the donor.
        inputs: Tensors of other parts, and the network's input, that it reads.
        outputs: What it computes for other parts, for tasks, or as an answer.
    """

    tasks: frozenset[str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class TrunkParts:
    """A donor in parts.

    Attributes:
        trunk: In an order in which they can run. What more tasks need comes first: whatever leads to a node is needed
            by every task that needs the node.
        head: What no other task needs; without outputs where there is nothing.
    """

    trunk: tuple[TrunkPart, ...]
    head: TrunkPart


def trunk_parts(
    nodes: Sequence[onnx.NodeProto],
    constants: Collection[str],
    outputs: Collection[str],
    sources: Mapping[str, Collection[str]],
) -> TrunkParts:
    """Part a donor.

    Args:
        nodes: Of it, in running order.
        constants: Names of what they read that is no tensor.
        outputs: Its own answers.
        sources: Task to the donor's tensors that it reads or answers with; names of other tensors say nothing.
    """
    needed: dict[str, set[str]] = {}
    for task, tensors in sources.items():
        for node in leading_nodes(nodes, tensors):
            needed.setdefault(node.output[0], set()).add(task)
    groups: dict[frozenset[str], list[onnx.NodeProto]] = {}
    for node in nodes:
        groups.setdefault(frozenset(needed.get(node.output[0], ())), []).append(node)
    own = groups.pop(frozenset(), [])
    asked = {t for tensors in sources.values() for t in tensors} | set(outputs)
    parts = []
    for tasks in sorted(groups, key=len, reverse=True):
        outside = (n for others, members in groups.items() if others != tasks for n in members)
        read = {i for n in (*outside, *own) for i in n.input}
        parts.append(_part(constants, tasks, groups[tasks], asked | read))
    return TrunkParts(tuple(parts), _part(constants, frozenset(), own, set(outputs)))


def _part(
    constants: Collection[str], tasks: frozenset[str], nodes: Iterable[onnx.NodeProto], wanted: set[str]
) -> TrunkPart:
    nodes = list(nodes)
    made = dict.fromkeys(o for n in nodes for o in n.output if o)
    read = dict.fromkeys(i for n in nodes for i in n.input if i and i not in constants and i not in made)
    return TrunkPart(tasks, tuple(read), tuple(o for o in made if o in wanted))
