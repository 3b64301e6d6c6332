"""The layers behind a cut in the order in which they are re-solved, as a refit plan names them.

The same walk as :mod:`multigraft.converters.graft.refit` makes with the activations of all frames at hand, without any:
which tensor each layer receives in the grafted network, what it originally gave, and what is added behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from multigraft.converters.graft.candidate import adapter_draft
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.onnx_linear_layer import linear_layer
from multigraft.converters.graft.refit import clamp_bounds
from multigraft.converters.network.network import Array, Network
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
    rest = target.nodes[join.target_point.node_index + 1 :]
    for index, node in enumerate(rest):
        solved = dict(names)
        layer_view = linear_layer(node, target.constants)
        if layer_view is not None and node.input[0] in names:
            output = node.output[0]
            stages.append(_stage(target, rest, index, names, layer_view.geometry))
            values = layer_view.initializers(layer_view.weight, layer_view.intercept)
            for position, value in values.items():
                constants[f"{output}/{position}"] = value
                if position < len(node.input):
                    solved[node.input[position]] = f"{output}/{position}"
            node = with_inputs(node, [f"{output}/{p}" for p in sorted(values) if p >= len(node.input)])
        names |= {o: NOW + o for o in node.output if o}
        nodes.append(renamed(node, solved | {o: NOW + o for o in node.output if o}))
    used = {i for n in nodes for i in n.input}
    constants |= {name: value for name, value in target.constants.items() if name in used}
    return LayerOrder(tuple(stages), tuple(nodes), constants)


def _stage(
    target: Network, rest: Sequence[onnx.NodeProto], index: int, names: dict[str, str], geometry: object
) -> Stage:
    """As :func:`multigraft.converters.graft.refit._solve_layer` sees it."""
    node = rest[index]
    output = node.output[0]
    after = [n for n in rest[index + 1 :] if output in n.input]
    skip = ""
    is_answer = output in target.outputs
    if len(after) == 1 and after[0].op_type == "Add" and not is_answer and len(set(after[0].input)) == 2:
        other = next(n for n in after[0].input if n != output)
        if other in names and target.shapes[other] == target.shapes[output]:
            skip = other
            after = [n for n in rest if after[0].output[0] in n.input]
    bounds = None if is_answer else clamp_bounds(after, target.constants)
    return Stage(
        output,
        geometry,  # type: ignore[arg-type]
        names[node.input[0]],
        output,
        names[skip] if skip else "",
        skip,
        finite(bounds, 0),
        finite(bounds, 1),
    )


def finite(bounds: tuple[float, float] | None, side: int) -> float | None:
    """A bound of a clamp, or None where there is none."""
    return float(bounds[side]) if bounds is not None and math.isfinite(bounds[side]) else None


def with_inputs(node: onnx.NodeProto, more: Sequence[str]) -> onnx.NodeProto:
    """The node with more inputs behind its own."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input.extend(more)
    return copy


def renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    """The node of the changed network, with tensors by other names."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = NOW + node.name
    copy.input[:] = [names.get(i, i) for i in node.input]
    copy.output[:] = [names.get(o, o) for o in node.output]
    return copy
