"""Every linear layer of a narrowed network solved anew, in order: from what it now receives to what it originally gave.

As in :mod:`multigraft.converters.graft.refit`, the error of a residual sum's other side is corrected, and errors that
a ReLU or a clip hides are not fitted. Linear layers that are added (a block and the shortcut beside it, or more) are
solved as one. Rows are sampled while frames stream by, so large networks need no more memory than small ones.

Source of the idea: GRAIL (arXiv 2602.23795), Gram matrix and ridge after narrowing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multigraft.converters.graft.refit import bias_behind, clamp_bounds, sum_behind
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Array, Network
from multigraft.converters.thinning.flow import Flow
from multigraft.converters.thinning.narrow import Indices, Kept, like
from multigraft.converters.thinning.ties import solvable
from multigraft.refit.linear_layer import HELD_OUT_EVERY, MIN_GROUP_ROWS, MIN_ROWS, ROWS_PER_INPUT, LinearLayer
from multigraft.refit.ridge import fit_rows

DESIGN_BYTES = 1 << 30
"""Of a layer's rows; of wider layers fewer are used."""


@dataclass(frozen=True)
class _Sum:
    """The residual sum that a layer's output goes into, of two or more.

    Attributes:
        total: It.
        beside: Layers that make nothing but a part of it.
        given: Tensors that are its other parts.
    """

    total: str
    beside: tuple[int, ...]
    given: tuple[str, ...]


def resolved(
    original: Network, narrow: Network, kept: Kept, frames: Frames, seed: int = 0, report: Report = silent
) -> tuple[Network, dict[int, float]]:
    """``narrow`` with new weights, and the relative squared error of each layer by the index of its node."""
    was, now = Flow(original, frames), Flow(narrow, frames)
    cuts = {p.node_index: p.name for p in original.cut_points}
    rng, errors = np.random.default_rng(seed), {}
    changed: set[str] = set()
    layers = [i for i, n in enumerate(narrow.nodes) if solvable(n, narrow.constants) is not None]
    for index, node in enumerate(narrow.nodes):
        if any(name in changed or name in kept for name in node.input):
            changed.update(node.output)
            layer = solvable(now.nodes[index], now.constants)
            if layer is not None and original.has_frames(node.input[0]) and original.has_frames(node.output[0]):
                report(f"solve layers of {original.name} anew ({layers.index(index) + 1} of {len(layers)})")
                errors[index] = _solve(was, now, index, layer, kept, changed, len(frames), rng)
        if index in cuts:
            was.advance(cuts[index])
            now.advance(cuts[index])
    return like(narrow, now.model()), errors


def _solve(
    was: Flow,
    now: Flow,
    index: int,
    layer: LinearLayer,
    kept: Kept,
    changed: set[str],
    frames: int,
    rng: np.random.Generator,
) -> float:
    network, node = now.network, now.nodes[index]
    output = node.output[0]
    summed = _sum_of(now, index, changed | kept.keys())
    layers, given = [layer], [node.input[0]]
    for other in summed.beside if summed else ():
        beside = solvable(now.nodes[other], now.constants)
        assert beside is not None
        layers.append(beside)
        given.append(now.nodes[other].input[0])
    ends = summed.total if summed else output
    after = [n for n in now.nodes if ends in n.input]
    bounds = None if ends in network.outputs else clamp_bounds(after, now.constants)
    skips = summed.given if summed else ()
    designs, targets, offsets, keep = [], [], [], 1
    for part in was.steps():
        goal = _left(was(part, [ends])[ends], kept.get(ends))
        values = now(part, [*given, *skips])
        positions = layer.rows(goal[:1]).shape[1]
        keep = min(positions, -(-_rows_wanted(layers) // frames))
        picked = rng.integers(0, positions, (len(goal), keep)) if keep < positions else None
        known = np.sum([values[skip] for skip in skips], axis=0) if skips else None
        aims = goal if known is None else goal - known
        designs.append(np.concatenate([one.design(values[g], picked) for one, g in zip(layers, given, strict=True)], 2))
        targets.append(layer.rows(aims, picked))
        if known is not None and bounds:
            offsets.append(layer.rows(known, picked))
    design, target = np.concatenate(designs, 1), np.concatenate(targets, 1)
    prior = np.concatenate([one.weight for one in layers], 1)
    held_out = (np.arange(design.shape[1]) // keep) % HELD_OUT_EVERY == 0
    bias = None if layer.geometry.takes_bias else bias_behind(now.nodes, output, network)
    has_intercept = layer.geometry.takes_bias or bias is not None
    added = np.concatenate(offsets, 1) if offsets else None
    solution = fit_rows(design, target, held_out, prior, bounds, added, has_intercept)
    ends_of = np.cumsum([one.weight.shape[1] for one in layers])
    weights = np.split(solution.weight, ends_of[:-1], axis=1)
    now.put(index, layer.initializers(weights[0], solution.intercept))
    if bias is not None:
        value = now.constants[now.nodes[bias.index].input[bias.position]] + solution.intercept[0]
        now.put(bias.index, {bias.position: np.asarray(value, np.float32)})
    nothing = np.zeros_like(solution.intercept)
    for other, one, weight in zip(summed.beside if summed else (), layers[1:], weights[1:], strict=True):
        now.put(other, one.initializers(weight, nothing))
    return solution.relative_error


def _rows_wanted(layers: list[LinearLayer]) -> int:
    groups, outputs = layers[0].weight.shape[0], layers[0].weight.shape[2]
    inputs = sum(one.weight.shape[1] for one in layers)
    wanted = max(MIN_ROWS if groups == 1 else MIN_GROUP_ROWS, ROWS_PER_INPUT * inputs)
    return max(1, min(wanted, DESIGN_BYTES // (4 * groups * (inputs + 2 * outputs))))


def _left(value: Array, kept: tuple[Indices, int] | None) -> Array:
    return value if kept is None else np.take(value, kept[0], axis=kept[1])


def _sum_of(now: Flow, index: int, free: set[str]) -> _Sum | None:
    """The sum of the layer's output with something that is known already."""
    output, shapes = now.nodes[index].output[0], now.network.shapes
    total, other = sum_behind(now.nodes, output, now.network)
    if not total or other in now.constants or shapes.get(other) != shapes[output]:
        return None
    own = solvable(now.nodes[index], now.constants)
    beside, given = _parts(now, other, free) if own is not None and _mixes(own) else ([], [other])
    if any(writer > index for writer in (*beside, *(_writer(now, tensor) for tensor in given))):
        return None
    return _Sum(total, tuple(beside), tuple(given))


def _writer(now: Flow, tensor: str) -> int:
    return next((i for i, n in enumerate(now.nodes) if tensor in n.output), -1)


def _parts(now: Flow, tensor: str, free: set[str]) -> tuple[list[int], list[str]]:
    """What a side of a sum consists of: layers that make nothing else, and tensors that are known."""
    writer = _writer(now, tensor)
    if _is_alone(now, writer, tensor, free):
        return [writer], []
    shapes = now.network.shapes
    if writer >= 0 and now.nodes[writer].op_type == "Add" and _is_read_once(now, tensor):
        sides = list(now.nodes[writer].input)
        if all(shapes.get(side) == shapes[tensor] and side not in now.constants for side in sides):
            found = [_parts(now, side, free) for side in sides]
            return [i for layers, _ in found for i in layers], [t for _, given in found for t in given]
    return [], [tensor]


def _mixes(layer: LinearLayer) -> bool:
    """Whether every output reads every input, and an intercept can be held."""
    return len(layer.weight) == 1 and layer.geometry.takes_bias


def _is_alone(now: Flow, writer: int, tensor: str, free: set[str]) -> bool:
    """Whether a tensor is a changed layer's, every output of which reads every input, and goes into one node."""
    if writer < 0 or tensor not in free:
        return False
    layer = solvable(now.nodes[writer], now.constants)
    if layer is None or not _mixes(layer):
        return False
    return _is_read_once(now, tensor) and len(now.nodes[writer].input) > 2


def _is_read_once(now: Flow, tensor: str) -> bool:
    return tensor not in now.network.outputs and sum(list(n.input).count(tensor) for n in now.nodes) == 1
