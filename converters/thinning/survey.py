"""What the choice of channels needs of the frames: Gram matrices of what every layer reads, taken in one walk.

From them come, for each group of channels, the order in which they are kept and what each number of them costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.converters.graft.refit import bias_behind
from multigraft.converters.job.effort import MEDIUM
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Network
from multigraft.converters.thinning.channels import Channels, channel_groups
from multigraft.converters.thinning.flow import Flow
from multigraft.converters.thinning.layout import Places
from multigraft.converters.thinning.narrow import Indices, narrowed, put
from multigraft.converters.thinning.pivots import pivots
from multigraft.converters.thinning.ties import mixing
from multigraft.refit.linear_layer import positions_used
from multigraft.refit.ridge import RidgeSums
from multigraft.refit.row_blocks import ROWS
from multigraft.tensors.arrays import Float64Array

RIDGE = 1e-3
"""Strength of the ridge where channels are compared, relative to the mean variance of the inputs."""

ROWS_AN_INPUT = 4
MOST_DETERMINED = 0.9
"""Share of inputs to rows from which on a fit says nothing; where rows are fewer than ROWS_AN_INPUT times the inputs,
its error is corrected (Golub, Heath and Wahba, Technometrics 21, 1979)."""

STEPS = 16
"""In how many steps a group's channels go."""

PROBED_FRAMES = 200
LEAST_PROBED_FRAMES = 48
"""On how many a group's weight in the answers is measured: fewer where all of them would take a network more
multiply-accumulates than :attr:`Effort.probed_macs`."""


@dataclass(frozen=True)
class Read:
    """Sums of what one layer reads and makes in the original network.

    Attributes:
        sums: Of inputs and outputs.
        weight: (inputs, outputs), as it is.
        variance: Of what the layer, or the residual sum that it is part of, gives.
    """

    sums: RidgeSums
    weight: Float64Array
    variance: float

    def centred(self) -> tuple[Float64Array, Float64Array]:
        """Covariance of the inputs with themselves and with the outputs, times the rows."""
        s = self.sums
        xx = s.xx[0] - np.outer(s.x[0], s.x[0]) / s.rows
        xy = s.xy[0] - np.outer(s.x[0], s.y[0]) / s.rows
        # Products are summed in float32, a block at a time: where means are large and variances small, that alone
        # leaves negative ones, of fewer inputs larger ones beside their trace.
        rounding = np.finfo(np.float32).eps * max(1.0, ROWS / len(xx)) ** 0.5 * np.trace(s.xx[0]) + 1e-9 * s.rows
        return xx + (RIDGE * np.trace(xx) / len(xx) + rounding) * np.eye(len(xx)), xy

    def curve(self, order: Indices, own: Places) -> Float64Array:
        """Squared error over the variance when a group keeps its first k channels, and others all, (channels + 1,).

        Args:
            order: Of the channels.
            own: The inputs of each, (channels, inputs of each).
        """
        xx, xy = self.centred()
        count, size = own.shape
        others, mine = np.delete(np.arange(len(xx)), own.reshape(-1)), own[order].reshape(-1)
        inputs = np.concatenate([others, mine])
        lower = np.linalg.cholesky(xx[np.ix_(inputs, inputs)])
        explained = (np.linalg.solve(lower, xy[inputs]) ** 2).sum(1)
        of_others, steps = explained[: len(others)].sum(), explained[len(others) :].reshape(count, size).sum(1)
        whole = self.sums.variance()
        error: Float64Array = np.maximum(whole - of_others - np.concatenate([[0.0], np.cumsum(steps)]), 0)
        # With few rows an input, what is left of these rows says too little of others: generalised cross-validation.
        share = (len(others) + np.arange(count + 1) * size) / self.sums.rows
        few = share * ROWS_AN_INPUT > 1
        error[few] = np.minimum(error[few] / np.maximum(1 - share[few], 1e-3) ** 2, whole)
        error[few & (share >= MOST_DETERMINED)] = whole
        if few.any():
            # The ridge pulls to the weights as they are, so leaving channels out and no more is what it costs at most.
            weight = self.weight[mine]
            apart = (xx[np.ix_(mine, mine)] * (weight @ weight.T))[::-1, ::-1]
            left_out = np.append(np.diagonal(apart.cumsum(0).cumsum(1))[::-1], 0.0)[::size]
            error[few] = np.minimum(error, left_out)[few]
        return error / self.variance

    def solve(self, kept: Indices, own: Places) -> tuple[Float64Array, Float64Array]:
        """Weights (inputs, outputs) and intercept that read all but the channels of a group that are not ``kept``.

        Args:
            kept: Of the channels.
            own: As for :meth:`curve`.
        """
        inputs = np.delete(np.arange(len(self.weight)), np.delete(own, kept, axis=0).reshape(-1))
        if len(inputs) < MOST_DETERMINED * self.sums.rows:
            xx, xy = self.centred()
            weight = np.linalg.solve(xx[np.ix_(inputs, inputs)], xy[inputs])
        else:
            # These rows can be fitted without error, which says nothing of others: the others are left out.
            weight = self.weight[inputs]
        intercept = (self.sums.y[0] - self.sums.x[0][inputs] @ weight) / self.sums.rows
        return weight, intercept

    def covariance(self, own: Places) -> Float64Array:
        """(channels, channels) of what is read of a group, each channel times the norm of the weights that read it."""
        s, (count, size) = self.sums, own.shape
        total = np.zeros((count, count))
        for inputs in own.T:
            x = s.x[0][inputs]
            total += s.xx[0][np.ix_(inputs, inputs)] / s.rows - np.outer(x, x) / s.rows**2
        norms = np.sqrt((self.weight[own] ** 2).sum((1, 2)))
        result: Float64Array = total / size * norms[:, None] * norms[None, :] / (self.variance / s.rows)
        return result


@dataclass(frozen=True)
class Survey:
    """All groups of a network.

    Attributes:
        network: It.
        groups: Of channels.
        orders: Of each group: the first k are kept of k.
        curves: Of each group: kept channels to what their lack costs each task's answers, (tasks,): the squared
            error over the variance, the mean of the task's outputs.
    """

    network: Network
    groups: tuple[Channels, ...]
    orders: tuple[Indices, ...]
    curves: tuple[dict[int, Float64Array], ...]

    def chosen(self, widths: Sequence[int]) -> list[Indices]:
        """The channels that stay where so many of each group do, in ascending order."""
        return [np.sort(order[:width]) for order, width in zip(self.orders, widths, strict=True)]

    def lost(self, widths: Sequence[int]) -> Float64Array:
        """What so many channels of each group cost each task beside all of them, as if costs added up, (tasks,)."""
        pairs = zip(self.groups, self.curves, widths, strict=True)
        total: Float64Array = np.sum([curve[width] - curve[group.count] for group, curve, width in pairs], axis=0)
        return total


def survey(
    network: Network,
    frames: Frames,
    seed: int = 0,
    report: Report = silent,
    outputs: Sequence[int] = (),
    probed_macs: int = MEDIUM.probed_macs,
    within: range | None = None,
) -> Survey:
    """Look at every group of channels of ``network`` on unlabeled frames.

    Args:
        network: It stays untouched.
        frames: Unlabeled.
        seed: Picks the rows where not all are used.
        report: Takes a line for each step.
        outputs: How many of the network's outputs, in order, are each task's; without, all are of one.
        probed_macs: As :attr:`Effort.probed_macs`.
        within: As for :func:`movable_groups`.
    """
    ends = np.cumsum(outputs or [len(network.outputs)])[:-1]
    groups = movable_groups(network, within)
    reads = _reads(network, groups, frames, seed, report)
    every_macs = max(1, len(groups) * network.macs)
    probed = frames[: max(LEAST_PROBED_FRAMES, min(PROBED_FRAMES, probed_macs // every_macs))]
    flow = Flow(network, probed)
    was = _answers(flow)
    cuts = list(network.cut_points)
    orders, curves = [], []
    for number, group in enumerate(groups, 1):
        report(f"weigh channels of {network.name} ({number} of {len(groups)})")
        while cuts and cuts[0].node_index < group.makers[0]:
            flow.advance(cuts.pop(0).name)
        every = [(reads[index], _inputs(network, group, index)) for index in group.readers]
        order = pivots(np.sum([read.covariance(own) for read, own in every], axis=0))
        curve = np.sum([read.curve(order, own) for read, own in every], axis=0)
        probe = max(1, group.count // 2)
        changed = _answers(Flow(_solved(network, group, np.sort(order[:probe]), every), probed, flow))
        by_task = np.array([part.mean() for part in np.split(_moved(was, changed), ends)])
        moved = by_task / max(float(curve[probe]), 1e-9)
        orders.append(order)
        curves.append({width: moved * float(curve[width]) for width in _widths(group.count)})
    return Survey(network, groups, tuple(orders), tuple(curves))


def movable_groups(network: Network, within: range | None) -> tuple[Channels, ...]:
    """Those of :func:`channel_groups` that some nodes alone have to do with, by index; None for all."""
    groups = channel_groups(network)
    if within is None:
        return groups
    return tuple(g for g in groups if all(index in within for index in (*g.makers, *g.readers, *g.between)))


def _inputs(network: Network, group: Channels, reader: int) -> Places:
    """The inputs of a layer that are of each channel, (channels, inputs of each): all places and all of the kernel."""
    node = network.nodes[reader]
    layer = mixing(network, node)
    assert layer is not None
    place = group.tensors[node.input[0]]
    size = layer.weight.shape[1] // network.shapes[node.input[0]][place.axis - 1]
    return (place.places[:, :, None] * size + np.arange(size)).reshape(group.count, -1)


def _widths(channels: int) -> list[int]:
    return sorted({max(1, round(channels * step / STEPS)) for step in range(1, STEPS + 1)})


def _reads(network: Network, groups: Sequence[Channels], frames: Frames, seed: int, report: Report) -> dict[int, Read]:
    wanted = sorted({index for group in groups for index in group.readers})
    cuts = {p.node_index: p.name for p in network.cut_points}
    flow, rng = Flow(network, frames), np.random.default_rng(seed)
    found: dict[int, Read] = {}
    for index in range(len(network.nodes)):
        if index in wanted:
            report(f"look at what layers of {network.name} read ({len(found) + 1} of {len(wanted)})")
            found[index] = _read(network, flow, index, len(frames), rng)
        if index in cuts and index < (wanted[-1] if wanted else 0):
            flow.advance(cuts[index])
    return found


def _read(network: Network, flow: Flow, index: int, frames: int, rng: np.random.Generator) -> Read:
    node = network.nodes[index]
    layer = mixing(network, node)
    assert layer is not None
    output = node.output[0]
    after = [n for n in network.nodes if output in n.input]
    is_summed = len(after) == 1 and after[0].op_type == "Add" and output not in network.outputs
    is_summed = is_summed and network.shapes[after[0].output[0]] == network.shapes[output]
    total = after[0].output[0] if is_summed else output
    sums = RidgeSums.empty(*layer.weight.shape)
    whole = RidgeSums.empty(1, 0, layer.weight.shape[2])
    for part in flow.chunks():
        values = flow(part, [node.input[0], output, total])
        rows = layer.rows(values[output][:1]).shape[1]
        keep = positions_used(layer, rows, frames)
        picked = rng.integers(0, rows, (len(values[output]), keep)) if keep < rows else None
        given, summed = layer.rows(values[output], picked), layer.rows(values[total], picked)
        sums.add(layer.design(values[node.input[0]], picked), given)
        whole.add(np.zeros((1, summed.shape[1], 0), np.float32), summed)
    variance = whole.variance() + 1e-12
    return Read(sums, layer.weight[0], variance)


def _solved(network: Network, group: Channels, kept: Indices, reads: Sequence[tuple[Read, Places]]) -> Network:
    """``network`` with ``kept`` channels of one group, what reads them solved anew."""
    made = narrowed(network, [group], [kept])
    model = made.model
    for index, (read, own) in zip(group.readers, reads, strict=True):
        layer = mixing(made, made.nodes[index])
        assert layer is not None
        weight, intercept = read.solve(kept, own)
        if index in group.makers:
            gone = np.delete(group.tensors[network.nodes[index].output[0]].places, kept, axis=0).reshape(-1)
            weight, intercept = np.delete(weight, gone, axis=1), np.delete(intercept, gone)
        for position, value in layer.initializers(weight[None], intercept[None]).items():
            put(model, model.graph.node[index], position, value)
        if not layer.geometry.takes_bias and (bias := bias_behind(made.nodes, made.nodes[index].output[0], made)):
            value = np.asarray(made.constants[bias.name] + intercept, np.float32)
            put(model, model.graph.node[bias.index], bias.position, value)
    return Network(made.name, model, made.preprocessing, made.kind)


def _answers(flow: Flow) -> list[Float64Array]:
    names = flow.network.outputs
    parts = [flow(part, names) for part in flow.chunks()]
    return [np.concatenate([part[name] for part in parts]).astype(np.float64) for name in names]


def _moved(was: Sequence[Float64Array], now: Sequence[Float64Array]) -> Float64Array:
    """How far each output moved: squared, over its variance, (outputs,)."""
    pairs = zip(was, now, strict=True)
    return np.array([((n - w) ** 2).sum() / (((w - w.mean(0)) ** 2).sum() + 1e-12) for w, n in pairs])
