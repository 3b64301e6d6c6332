"""A donor and the tails on its trunk as one network of several answers, thinned as a whole and taken apart again."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from multigraft.converters.graft.candidate import Candidate, costed
from multigraft.converters.network.frontier import with_shapes
from multigraft.converters.network.network import Network, model_of, node_macs
from multigraft.converters.network.thinned_network import ThinnedNetwork
from multigraft.converters.thinning.narrow import like


@dataclass(frozen=True)
class Tree:
    """A network that is not grafted, and the grafts onto it.

    Attributes:
        root: The network.
        grafts: Task to its graft onto ``root``, or onto the tail of a task before it.
        targets: Task to its original network.
    """

    root: Network
    grafts: Mapping[str, Candidate]
    targets: Mapping[str, Network]

    @property
    def tasks(self) -> tuple[str, ...]:
        """All that it answers."""
        return (self.root.name, *self.grafts)

    def on(self, task: str) -> set[str]:
        """A grafted task and those that stand on its own part."""
        found = {task}
        for name, graft in self.grafts.items():
            if graft.join.donor in found:
                found.add(name)
        return found

    def nodes_of(self, task: str) -> range:
        """Where the nodes of a grafted task's own part stand in :meth:`joined`."""
        start = len(self.root.nodes)
        for name, graft in self.grafts.items():
            if name == task:
                return range(start, start + len(graft.tail.nodes))
            start += len(graft.tail.nodes)
        raise KeyError(task)

    def joined(self) -> Network:
        """One network whose outputs are the root's, then those of the tails in order."""
        if not self.grafts:
            return self.root
        root = self.root
        model = onnx.ModelProto()
        model.CopyFrom(root.model)
        answered = {o.name for o in model.graph.output}
        have, shapes = set(root.constants), dict(root.shapes)
        for task, graft in self.grafts.items():
            model.graph.node.extend(graft.tail.nodes)
            for name, value in graft.tail.constants.items():
                if name not in have:
                    have.add(name)
                    model.graph.initializer.append(numpy_helper.from_array(value, name))
            target = self.targets[task]
            shapes |= {o: target.shapes[o] for n in graft.tail.nodes for o in n.output if o in target.shapes}
            model.graph.output.extend(
                onnx.helper.make_tensor_value_info(o, onnx.TensorProto.FLOAT, ["N", *target.shapes[o]])
                for o in graft.tail.own_outputs
            )
            answered |= set(graft.tail.own_outputs)
            # What the root answers for a task keeps its channels.
            of_root = [o for o in graft.tail.outputs if o in graft.tail.sources and o not in answered]
            model.graph.output.extend(
                onnx.helper.make_tensor_value_info(o, onnx.TensorProto.FLOAT, ["N", *shapes[o]]) for o in of_root
            )
            answered |= set(of_root)
        return like(root, model)

    def parted(self, joined: Network) -> tuple[Network, dict[str, Candidate]]:
        """The root and the grafts of a network that :meth:`joined` made, with its weights."""
        if not self.grafts:
            return joined, {}
        own = f"{self.root.name}/"
        count = len(self.root.nodes)
        root = _root_of(self.root, joined, count)
        grafts = {}
        # What stands on a tail in place of the root reads names that had the root's put in front.
        shapes = {name.removeprefix(own): shape for name, shape in joined.shapes.items()} | joined.shapes
        for task, graft in self.grafts.items():
            part = joined.nodes[count : count + len(graft.tail.nodes)]
            count += len(graft.tail.nodes)
            sources = graft.tail.sources
            nodes = [_stripped(node, own, sources) for node in part]
            constants = {_strip(name, own, sources): value for name, value in joined.constants.items()}
            target = self.targets[task]
            used = {i for n in nodes for i in n.input}
            kept = {name: value for name, value in constants.items() if name in used}
            tail = dataclasses.replace(graft.tail, nodes=tuple(nodes), constants=kept)
            point = with_shapes(graft.join.donor_point, shapes)
            join = dataclasses.replace(graft.join, donor_point=point)
            made = costed(join, tail, target)
            macs = sum(node_macs(node, joined.constants, joined.shapes) for node in part)
            grafts[task] = dataclasses.replace(
                made, own_macs=macs, layers=graft.layers, adapter_error=graft.adapter_error
            )
        return root, grafts


@dataclass(frozen=True)
class ThinnedTree:
    """A tree with fewer channels.

    Attributes:
        root: Its network that is not grafted.
        grafts: Task to its graft, the tail thinned.
    """

    root: ThinnedNetwork
    grafts: Mapping[str, Candidate]

    @property
    def bounds(self) -> dict[str, float]:
        """Task to the bound of its agreement, the root's first."""
        shown = {self.root.network.name: self.root.agreement, **{t: g.agreement for t, g in self.grafts.items()}}
        return {task: a.lower_bound if a else 0.0 for task, a in shown.items()}

    @property
    def weights(self) -> int:
        """Parameters of all parts."""
        return self.root.network.weights + sum(g.own_weights for g in self.grafts.values())

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all parts on one frame."""
        return self.root.network.macs + sum(g.own_macs for g in self.grafts.values())


def _root_of(root: Network, joined: Network, count: int) -> Network:
    graph = onnx.helper.make_graph(
        joined.nodes[:count],
        "root",
        list(root.model.graph.input),
        list(root.model.graph.output),
        list(joined.model.graph.initializer),
    )
    return like(root, model_of(graph, root.opset))


def _strip(name: str, own: str, sources: Collection[str]) -> str:
    """The name that a tensor of a tail had before it joined a network that puts its own in front."""
    rest = name.removeprefix(own)
    return rest if name not in sources and "/" in rest else name


def _stripped(node: onnx.NodeProto, own: str, sources: Collection[str]) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    copied.name = _strip(node.name, own, sources)
    copied.input[:] = [_strip(name, own, sources) for name in node.input]
    copied.output[:] = [_strip(name, own, sources) for name in node.output]
    return copied
