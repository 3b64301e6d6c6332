"""The layers behind a cut in the order in which they are re-solved, as a refit plan names them.

The same walk as :mod:`multigraft.converters.graft.refit` makes with the activations of all frames at hand, without any:
which tensor each layer receives in the grafted network, what it originally gave, and what is added behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from multigraft.converters.graft.candidate import adapter_draft
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.onnx_linear_layer import linear_layer
from multigraft.converters.graft.refit import clamp_bounds, sum_behind, with_constants
from multigraft.converters.network.network import Array, Network
from multigraft.refit.linear_layer import Geometry
from multigraft.refit.refit_plan import Stage

NOW = "now/"
"""In front of a target's tensor: the same tensor of the grafted network."""


@dataclass(frozen=True)
class LayerOrder:
    """The grafted rest of a target, layer by layer.

    Attributes:
        stages: To be solved, in order.
        nodes: Those of the grafted rest, which read the donor's tensor and write ``now/...``.
        constants: Those of the nodes; the weights to be solved are under ``LAYER/1`` and ``LAYER/2``.
    """

    stages: tuple[Stage, ...]
    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, Array]


def layer_order(join: Join, target: Network) -> LayerOrder:
    """Follow the target's nodes behind its cut."""
    cut = join.target_point.name
    stages: list[Stage] = []
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Array] = {}
    names = {cut: join.donor_point.name}
    if join.method != "refit":
        draft = adapter_draft(join, target)
        names[cut] = NOW + cut
        constants |= draft.constants
        shape = draft.layer.geometry.shape
        # Small and all different; they are replaced before anything reads what they give.
        start = np.random.default_rng(0).normal(size=shape) / math.sqrt(math.prod(shape[1:]) or 1)
        layer = NOW + draft.node.output[0] if draft.after else cut
        constants |= {
            f"{layer}/1": start.astype(np.float32),
            f"{layer}/2": np.zeros(shape[0], np.float32),
        }
        known = {draft.weight: f"{layer}/1", draft.bias: f"{layer}/2"}
        known |= {o: NOW + o for n in draft.nodes for o in n.output}
        nodes += [renamed(n, known) for n in draft.nodes]
        stages.append(
            Stage(
                layer,
                draft.layer.geometry,
                known.get(draft.node.input[0], draft.node.input[0]),
                cut,
                low=finite(draft.bounds, 0),
                high=finite(draft.bounds, 1),
                is_adapter=True,
                restores_variance=not draft.after,
            )
        )
    for node in target.nodes[join.target_point.node_index + 1 :]:
        layer_view = linear_layer(node, target.constants)
        if layer_view is not None and node.input[0] in names:
            stages.append(stage_of(node, layer_view.geometry, target, names, names.__contains__))
            values = layer_view.initializers(layer_view.weight, layer_view.intercept)
            node, added = with_constants(node, values, node.output[0])
            constants |= added
        names |= {o: NOW + o for o in node.output if o}
        nodes.append(renamed(node, names))
    used = {i for n in nodes for i in n.input}
    constants |= {name: value for name, value in target.constants.items() if name in used}
    return LayerOrder(tuple(stages), tuple(nodes), constants)


def stage_of(
    node: onnx.NodeProto,
    geometry: Geometry,
    network: Network,
    names: Mapping[str, str],
    is_known: Callable[[str], bool],
) -> Stage:
    """A layer to be solved, as :func:`multigraft.converters.graft.refit._solve_layer` sees it.

    Args:
        node: The layer.
        geometry: Of it.
        network: Of the layer.
        names: Tensor to its name in the changed network, where it has another.
        is_known: Whether a tensor is there before the layer is solved.
    """
    output = node.output[0]
    skip, ends = "", output
    total, other = sum_behind(network.nodes, output, network)
    if total and is_known(other) and network.shapes.get(other) == network.shapes[output]:
        skip, ends = other, total
    after = [n for n in network.nodes if ends in n.input]
    bounds = None if output in network.outputs else clamp_bounds(after, network.constants)
    return Stage(
        output,
        geometry,
        names.get(node.input[0], node.input[0]),
        output,
        names.get(skip, skip),
        skip,
        finite(bounds, 0),
        finite(bounds, 1),
    )


def finite(bounds: tuple[float, float] | None, side: int) -> float | None:
    """A bound of a clamp, or None where there is none."""
    return float(bounds[side]) if bounds is not None and math.isfinite(bounds[side]) else None


def renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """The node of the changed network, with tensors by other names."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = NOW + node.name
    copy.input[:] = [names.get(i, i) for i in node.input]
    copy.output[:] = [names.get(o, o) for o in node.output]
    return copy
