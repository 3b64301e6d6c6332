"""The layers of a network with fewer channels in the order in which a device solves them anew.

The same walk as :mod:`multigraft.converters.thinning.resolve` makes with frames at hand, without any. The device does
no more than for a graft: it takes those channels alone of what the original gives that stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from multigraft.converters.graft.layer_order import NOW, LayerOrder, finite, renamed, with_inputs
from multigraft.converters.graft.refit import clamp_bounds
from multigraft.converters.network.network import Array, Network
from multigraft.converters.thinning.channels import Channels, channel_groups
from multigraft.converters.thinning.narrow import Indices, Kept, kept_places, like, narrowed, put
from multigraft.converters.thinning.ties import solvable
from multigraft.errors import InputError
from multigraft.refit.refit_plan import Stage, is_choice

KeptChannels = Mapping[str, tuple[int, ...]]
"""First tensor of a group of channels to those that stay, in ascending order; other groups stay whole."""


@dataclass(frozen=True)
class FieldThinning:
    """A network that stands alone and whose layers a device solves anew with fewer channels.

    Attributes:
        network: As it came.
        kept: Channels that stay.
    """

    network: Network
    kept: KeptChannels

    @property
    def groups(self) -> tuple[Channels, ...]:
        """All groups of channels of the network."""
        return channel_groups(self.network)

    def chosen(self, groups: Sequence[Channels]) -> list[Indices]:
        """The channels of each group that stay.

        Raises:
            InputError: They are not channels of this network.
        """
        names = [first_tensor(self.network, group) for group in groups]
        found = [tuple(self.kept.get(n, range(g.count))) for n, g in zip(names, groups, strict=True)]
        ends = [g.count for g in groups]
        if set(self.kept) - set(names) or not all(is_choice(c, end) for c, end in zip(found, ends, strict=True)):
            raise InputError(
                f"the channels that stay of {self.network.name} are none of this network", "plan and refit again"
            )
        return [np.array(channels, np.int64) for channels in found]

    @property
    def narrow(self) -> Network:
        """With fewer channels, before anything is solved."""
        groups = self.groups
        return narrowed(self.network, groups, self.chosen(groups))

    def order(self) -> LayerOrder:
        """What the device runs and solves."""
        groups = self.groups
        return _Order(self.narrow, kept_places(self.network, groups, self.chosen(groups))).made()

    def solved(self, weights: Mapping[str, Array]) -> Network:
        """The network with fewer channels and solved weights, ``LAYER/1`` and ``LAYER/2``; other layers keep theirs.

        Raises:
            InputError: A weight has another shape, or the channels are not of this network.
        """
        narrow = self.narrow
        model = onnx.ModelProto()
        model.CopyFrom(narrow.model)
        for node in model.graph.node:
            layer = solvable(node, narrow.constants)
            if layer is None:
                continue
            for position, value in layer.initializers(layer.weight, layer.intercept).items():
                given = weights.get(f"{node.output[0]}/{position}")
                if given is not None and given.shape != value.shape:
                    raise InputError(f"{node.output[0]} has weights of shape {given.shape}", "plan and refit again")
                if given is not None:
                    put(model, node, position, given)
        return like(narrow, model)


def first_tensor(network: Network, group: Channels) -> str:
    """The tensor that names a group of channels."""
    name: str = network.nodes[group.makers[0]].output[0]
    return name


class _Order:
    def __init__(self, narrow: Network, kept: Kept) -> None:
        self._narrow, self._kept = narrow, kept
        self._names: dict[str, str] = {}
        self._constants: dict[str, Array] = {}

    def made(self) -> LayerOrder:
        narrow, stages, nodes = self._narrow, [], []
        for index, node in enumerate(narrow.nodes):
            constants: dict[str, str] = {}
            layer = solvable(node, narrow.constants)
            is_changed = any(name in self._names for name in node.input)
            is_seen = narrow.has_frames(node.input[0]) and narrow.has_frames(node.output[0]) if layer else False
            if layer is not None and is_changed and is_seen:
                output = node.output[0]
                stages.append(self._stage(index, layer.geometry))
                values = layer.initializers(layer.weight, layer.intercept)
                for position, value in values.items():
                    self._constants[f"{output}/{position}"] = value
                    if position < len(node.input):
                        constants[node.input[position]] = f"{output}/{position}"
                node = with_inputs(node, [f"{output}/{p}" for p in sorted(values) if p >= len(node.input)])
            if not (is_changed or any(name in self._kept for name in node.output)):
                continue  # The same as in the original, whose tensor serves both.
            known = self._names | constants
            self._names |= {o: NOW + o for o in node.output if o}
            nodes.append(renamed(node, known | {o: NOW + o for o in node.output if o}))
        nodes += self._answers()
        used = {i for n in nodes for i in n.input}
        more = {name: value for name, value in narrow.constants.items() if name in used}
        return LayerOrder(tuple(stages), tuple(nodes), self._constants | more)

    def _answers(self) -> list[onnx.NodeProto]:
        """Answers that nothing changes are there under both names."""
        same = [o for o in self._narrow.outputs if o not in self._names]
        return [onnx.helper.make_node("Identity", [o], [NOW + o]) for o in same]

    def _stage(self, index: int, geometry: object) -> Stage:
        """As :func:`multigraft.converters.thinning.resolve._solve` sees it, but for sums of two solved layers."""
        nodes, node, shapes = self._narrow.nodes, self._narrow.nodes[index], self._narrow.shapes
        output = node.output[0]
        after = [n for n in nodes if output in n.input]
        is_answer, skip = output in self._narrow.outputs, ""
        if len(after) == 1 and after[0].op_type == "Add" and not is_answer and len(set(after[0].input)) == 2:
            other = next(n for n in after[0].input if n != output)
            writer = next((i for i, n in enumerate(nodes) if other in n.output), -1)
            if other not in self._narrow.constants and shapes.get(other) == shapes[output] and writer < index:
                skip = other
                after = [n for n in nodes if after[0].output[0] in n.input]
        bounds = None if is_answer else clamp_bounds(after, self._narrow.constants)
        places, axis = self._kept.get(output, ((), 1))
        return Stage(
            output,
            geometry,  # type: ignore[arg-type]
            self._names.get(node.input[0], node.input[0]),
            output,
            self._names.get(skip, skip),
            skip,
            finite(bounds, 0),
            finite(bounds, 1),
            left=tuple(int(place) for place in places),
            axis=axis,
        )
