"""A network that also reads the features of another one's trunk: at every depth a 1x1 convolution of them is added.

What comes out answers as the network does, since those convolutions are 0. Thinned, it is a thin branch beside the
trunk: each channel that stays is solved from what trunk and branch have at that depth, before the activation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from multigraft.converters.graft.candidate import Candidate, costed
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.tail import Tail
from multigraft.converters.network.frontier import Frontier
from multigraft.converters.network.network import CutPoint, Network
from multigraft.converters.thinning.narrow import like
from multigraft.converters.thinning.ties import mixing
from multigraft.tensors.preprocessing import Preprocessing

Pairs = Sequence[tuple[CutPoint, CutPoint]]


def depths(donor: Network, target: Network, most: int) -> Pairs:
    """Maps of one size of donor and target, each deeper than the one before.

    Args:
        donor: Of the trunk.
        target: That reads it.
        most: How many of the donor's cut points may be read, from the first on.
    """
    pairs: list[tuple[CutPoint, CutPoint]] = []
    free = list(donor.cut_points[:most])
    for point in target.cut_points:
        fits = [p for p in free if len(p.shape) == len(point.shape) == 3 and p.shape[1:] == point.shape[1:]]
        if fits and target.nodes[point.node_index].op_type in ("Relu", "Clip"):
            pairs.append((fits[0], point))
            free = free[free.index(fits[0]) + 1 :]
    return pairs


def reading_trunk(donor: Network, target: Network, pairs: Pairs) -> Candidate:
    """The target, as wide as it came, as a tail that reads the donor's picture and its tensors of ``pairs``."""
    made = _Reading(donor, target, pairs)
    used = {i for n in made.nodes for i in n.input}
    constants = {name: value for name, value in made.constants.items() if name in used}
    read = [given for given, _ in pairs]
    sources = donor.input, *(point.name for point in read)
    tail = Tail(sources, tuple(made.nodes), constants, target.outputs, target.opset, target.batch)
    last = read[-1]
    tensors, shapes = tuple(p.name for p in read), tuple(p.shape for p in read)
    end = Frontier(last.name, last.shape, last.node_index, last.weights, last.macs, tensors, shapes)
    return costed(Join(donor.name, target.name, end, pairs[-1][1], "refit", "independent"), tail, target)


def donor_held(joined: Network, donor: Network) -> Network:
    """A joined network where everything that layers of the donor make is an answer, so that no channel of it goes."""
    model = onnx.ModelProto()
    model.CopyFrom(joined.model)
    held = [
        n.output[0] for n in joined.nodes[: len(donor.nodes)] if mixing(joined, n) and n.output[0] not in joined.outputs
    ]
    kind = onnx.TensorProto.FLOAT
    model.graph.output.extend(helper.make_tensor_value_info(o, kind, ["N", *joined.shapes[o]]) for o in held)
    return like(joined, model)


class _Reading:
    def __init__(self, donor: Network, target: Network, pairs: Pairs) -> None:
        self.constants: dict[str, npt.NDArray[np.float32]] = dict(target.constants)
        self.nodes: list[onnx.NodeProto] = []
        self._target = target
        self._writers = {o: i for i, n in enumerate(target.nodes) for o in n.output if o}
        # Node's index to what is computed before it, and, by reader, tensor to the sum in its place.
        self._before: dict[int, list[onnx.NodeProto]] = {}
        self._instead: dict[tuple[int, str], str] = {}
        picture = self._picture(donor)
        for given, own in pairs:
            self._read(given, own)
        for index, node in enumerate(target.nodes):
            self.nodes += self._before.get(index, [])
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            names = [picture if name == target.input else name for name in node.input]
            copied.input[:] = [self._instead.get((index, name), name) for name in names]
            self.nodes.append(copied)

    def _read(self, given: CutPoint, own: CutPoint) -> None:
        """Add the donor's features before the activation that writes ``own``, to the first side of a sum if it is one:
        what is solved last sees all of it."""
        nodes, writers, side = self._target.nodes, self._writers, f"{own.name}/trunk"
        total = nodes[own.node_index].input[0]
        shape = own.shape[0], given.shape[0], 1, 1
        self.constants |= {f"{side}/1": np.zeros(shape, np.float32), f"{side}/2": np.zeros(shape[0], np.float32)}
        conv = helper.make_node("Conv", [given.name, f"{side}/1", f"{side}/2"], [side], side, kernel_shape=[1, 1])
        writer = writers[total]
        if nodes[writer].op_type == "Add":
            first, last = sorted(nodes[writer].input, key=lambda name: writers[name])
            place, reader = writers[last], writer
        else:
            first, place, reader = total, own.node_index, own.node_index
        self._before.setdefault(writer if place == reader else place, []).append(conv)
        both = helper.make_node("Add", [first, side], [f"{side}/sum"], f"{side}/sum")
        self._before.setdefault(place, []).append(both)
        self._instead[reader, first] = f"{side}/sum"

    def _picture(self, donor: Network) -> str:
        """The picture as the target is used to it, made of what the donor sees."""
        target, had, wanted = self._target, donor.preprocessing, self._target.preprocessing
        given: str = donor.input
        if had == wanted:
            return given
        assert isinstance(had, Preprocessing) and isinstance(wanted, Preprocessing)
        factor = np.divide(wanted.scale, had.scale)
        offset = (np.array(had.mean) - np.array(wanted.mean)) * np.array(wanted.scale)
        for kind, value in (("Mul", factor), ("Add", offset)):
            made = f"{target.input}/{kind}"
            self.constants[f"{made}/1"] = value.astype(np.float32).reshape(-1, 1, 1)
            self.nodes.append(helper.make_node(kind, [given, f"{made}/1"], [made], made))
            given = made
        return given
