"""The layers of a network with fewer channels in the order in which a device solves them anew.

The same walk as :mod:`multigraft.converters.thinning.resolve` makes with frames at hand, without any. The device does
no more than for a graft: it takes those channels alone of what the original gives that stay.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from multigraft.converters.graft.layer_order import NOW, LayerOrder, renamed, stage_of
from multigraft.converters.graft.refit import with_constants
from multigraft.converters.network.network import Array, Network
from multigraft.converters.thinning.channels import Channels, channel_groups
from multigraft.converters.thinning.narrow import Indices, Kept, kept_places, like, narrowed, put
from multigraft.converters.thinning.ties import solvable
from multigraft.errors import InputError
from multigraft.refit.linear_layer import Geometry
from multigraft.refit.refit_plan import Stage, is_choice

KeptChannels = Mapping[str, tuple[int, ...]]
"""First tensor of a group of channels to those that stay, in ascending order; other groups stay whole."""


@dataclass(frozen=True)
class FieldThinning:
    """A network that stands alone and whose layers a device solves anew with fewer channels.

    Attributes:
        network: As it came.
        kept: Channels that stay.

    Raises:
        InputError: They are not channels of this network.
    """

    network: Network
    kept: KeptChannels

    def __post_init__(self) -> None:
        counts = {first_tensor(self.network, group): group.count for group in self.groups}
        if not all(name in counts and is_choice(channels, counts[name]) for name, channels in self.kept.items()):
            raise InputError(
                f"the channels that stay of {self.network.name} are none of this network", "plan and refit again"
            )

    @functools.cached_property
    def groups(self) -> tuple[Channels, ...]:
        """All groups of channels of the network."""
        return channel_groups(self.network)

    @property
    def chosen(self) -> list[Indices]:
        """The channels of each group that stay."""
        names = [first_tensor(self.network, group) for group in self.groups]
        return [np.array(self.kept.get(n, range(g.count)), np.int64) for n, g in zip(names, self.groups, strict=True)]

    @property
    def places(self) -> Kept:
        """What is left of every tensor that loses something."""
        return kept_places(self.network, self.groups, self.chosen)

    @functools.cached_property
    def narrow(self) -> Network:
        """With fewer channels, before anything is solved."""
        return narrowed(self.network, self.groups, self.chosen)

    def order(self) -> LayerOrder:
        """What the device runs and solves."""
        return _Order(self.narrow, self.places).made()

    def solved(self, weights: Mapping[str, Array]) -> Network:
        """The network with fewer channels and solved weights, ``LAYER/1`` and ``LAYER/2``; other layers keep theirs.

        Raises:
            InputError: A weight has another shape.
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
    """What names a group of channels: a tensor, with its first place there where that is not the first of all."""
    name: str = network.nodes[group.makers[0]].output[0]
    first = int(group.tensors[name].places.min())
    return f"{name}@{first}" if first else name


class _Order:
    def __init__(self, narrow: Network, kept: Kept) -> None:
        self._narrow, self._kept = narrow, kept
        self._names: dict[str, str] = {}
        self._constants: dict[str, Array] = {}

    def made(self) -> LayerOrder:
        narrow, stages, nodes = self._narrow, [], []
        for index, node in enumerate(narrow.nodes):
            is_changed = any(name in self._names for name in node.input)
            if not (is_changed or any(name in self._kept for name in node.output)):
                continue  # The same as in the original, whose tensor serves both.
            layer = solvable(node, narrow.constants) if is_changed else None
            if layer is not None and narrow.has_frames(node.input[0]) and narrow.has_frames(node.output[0]):
                stages.append(self._stage(index, layer.geometry))
                values = layer.initializers(layer.weight, layer.intercept)
                node, added = with_constants(node, values, node.output[0])
                self._constants |= added
            self._names |= {o: NOW + o for o in node.output if o}
            nodes.append(renamed(node, self._names))
        nodes += self._answers()
        used = {i for n in nodes for i in n.input}
        more = {name: value for name, value in narrow.constants.items() if name in used}
        return LayerOrder(tuple(stages), tuple(nodes), self._constants | more)

    def _answers(self) -> list[onnx.NodeProto]:
        """Answers that nothing changes are there under both names."""
        same = [o for o in self._narrow.outputs if o not in self._names]
        return [onnx.helper.make_node("Identity", [o], [NOW + o]) for o in same]

    def _stage(self, index: int, geometry: Geometry) -> Stage:
        """As :func:`multigraft.converters.thinning.resolve._solve` sees it, but for sums of two solved layers."""
        narrow, node = self._narrow, self._narrow.nodes[index]

        def is_known(name: str) -> bool:
            later = (o for n in narrow.nodes[index + 1 :] for o in n.output)
            return name not in narrow.constants and name not in later

        stage = stage_of(node, geometry, narrow, self._names, is_known)
        places, axis = self._kept.get(node.output[0], ((), 1))
        return dataclasses.replace(stage, left=tuple(int(place) for place in places), axis=axis)
