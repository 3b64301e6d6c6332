"""A network as it stands in a plan: on the trunk that it is grafted onto, where others may stand on it in turn."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import onnx
from onnx import numpy_helper

from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.graft.tail import Tail
from multigraft.converters.network.leading_nodes import leading_nodes
from multigraft.converters.network.network import CutPoint, Network, model_of


class GrownNetwork(Network):
    """What leads through a donor to a target's tail, and the tail, as a network of the target's name.

    Every tensor keeps the name that it has in the donor or in the tail, so that what is grafted onto it fits into one
    graph with both.

    Args:
        target: The network that was grafted.
        donor: As it stands itself.
        tail: What is left of the target.
    """

    def __init__(self, target: Network, donor: Network, tail: Tail) -> None:
        nodes = [*leading_nodes(donor.nodes, tail.sources), *tail.nodes]
        read = {i for n in nodes for i in n.input}
        shapes = donor.shapes | target.shapes
        graph = onnx.helper.make_graph(
            nodes,
            target.name,
            [i for i in donor.model.graph.input if i.name == donor.input],
            [onnx.helper.make_tensor_value_info(o, onnx.TensorProto.FLOAT, ["N", *shapes[o]]) for o in tail.outputs],
            [numpy_helper.from_array(v, k) for k, v in (donor.constants | tail.constants).items() if k in read],
        )
        model = model_of(graph, donor.opset)
        super().__init__(target.name, model, donor.preprocessing, target.kind, target.labels, target.source_sha256)
        self.answer, self.on = target.answer, target.on
        self._known = {p.name for network in (donor, target) for p in network.cut_points}

    def _own(self, model: onnx.ModelProto) -> onnx.ModelProto:
        return model

    @functools.cached_property
    def cut_points(self) -> tuple[CutPoint, ...]:
        """Those that the donor or the target has by themselves, too: of others no similarity is known."""
        return tuple(p for p in super().cut_points if p.name in self._known)


def grown(network: Network, plan: SharingPlan, networks: Mapping[str, Network]) -> Network:
    """What stands for a network in a plan: itself, its thinned form, or what it is grafted onto with its tail.

    Args:
        network: One of them.
        plan: Its donors are among ``networks``.
        networks: Task to its original.
    """
    graft = plan.grafts.get(network.name)
    if graft is None:
        return plan.root(network)
    return GrownNetwork(network, grown(networks[graft.join.donor], plan, networks), graft.tail)
