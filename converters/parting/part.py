"""Ends a network before the joins of its outputs where the parts are of unlike range.

All of it happens to the float graph: what is quantised, cut and verified afterwards has the parts for outputs. Nothing
changes where no output is parted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from multigraft.bundle.manifest import PARTED_KINDS
from multigraft.converters.conversion.boundary_tensors import FloatModel, relative_error
from multigraft.converters.conversion.interpreters import Arrays, Taps
from multigraft.converters.conversion.rewriting import prune
from multigraft.converters.job.over_frames import over_frames
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.parting.joins import Join, join_of, moves, thinned
from multigraft.converters.parting.probabilities import is_probability
from multigraft.converters.quantising.ranges import Range
from multigraft.tensors.joining import MOST_STEPS, Joined, Part
from multigraft.tflite.graph import Graph

MOST_ALIKE = 4.0
"""Parts whose ranges differ by less keep one scale: the narrowest loses two bits at most."""

PARTING_FRAMES = 16
"""On which ranges of parts are compared; those that set their scales are measured afterwards."""

EQUAL = 1e-5
"""Largest difference of the joined parts to the output, over its largest magnitude."""


@dataclass(frozen=True)
class Parting:
    """What came of it.

    Attributes:
        floating: The float model; with ``joined`` where an output was parted.
        known: Ranges of parts that are probabilities, whatever the frames show.
        sentences: Which outputs were parted and why, for people.
    """

    floating: FloatModel
    known: Mapping[str, Range] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()


def part_outputs(
    multitask: MultiTaskModel, floating: FloatModel, feeds: Sequence[Arrays], ranges: Mapping[str, Range]
) -> Parting:
    """Part the outputs that join values of unlike range.

    Args:
        multitask: The tasks and segments.
        floating: The float model, every output whole.
        feeds: Values of its inputs, laid out as it takes them, of frames; may be empty.
        ranges: Ranges that are known; the others are measured, and without frames a join of others stays.
    """
    ends = {floating.boundaries.get(name, name) for segment in multitask.segments for name in segment.inputs}
    outputs = [o for task in multitask.tasks if task.kind in PARTED_KINDS for o in task.outputs]
    wholes = {name: tensor for name in outputs if (tensor := floating.boundaries[name]) not in ends}
    joins = {name: join_of(floating.graph, tensor, ends) for name, tensor in wholes.items()}
    joins = {name: join for name, join in joins.items() if join.step is not None}
    if not joins:
        return Parting(floating)
    graph = floating.graph
    bounds = _ranges(graph, {leaf for join in joins.values() for leaf in join.leaves}, feeds, ranges)
    chosen = {name: thinned(join, lambda leaves: _are_alike(leaves, bounds)) for name, join in joins.items()}
    chosen = {n: j for n, j in chosen.items() if j.step is not None and len(list(j.steps(_same(j)))) <= MOST_STEPS}
    chosen = {n: j for n, j in chosen.items() if _equals(floating, floating.graph, n, j, feeds)}
    if not chosen:
        return Parting(floating)
    parted, known = _parted(multitask, floating, graph, chosen)
    return Parting(parted, known, tuple(_sentence(name, join, bounds) for name, join in chosen.items()))


def with_parts(multitask: MultiTaskModel, joined: Mapping[str, Joined]) -> MultiTaskModel:
    """Tasks and segments with parts in the place of the outputs that are joined of them."""
    if not joined:
        return multitask
    earlier = {name for segment in multitask.segments for name in segment.inputs}

    def parts(names: Iterable[str], without: Collection[str] = ()) -> tuple[str, ...]:
        every = [p for n in names for p in (joined[n].parts if n in joined else (n,)) if p == n or p not in without]
        return tuple(dict.fromkeys(every))

    segments = tuple(dataclasses.replace(s, outputs=parts(s.outputs, earlier)) for s in multitask.segments)
    tasks = []
    for task in multitask.tasks:
        if joined.keys() & set(task.outputs):
            made = tuple(joined.get(o) or Joined(o, (Part(o),)) for o in task.outputs)
            task = dataclasses.replace(task, outputs=parts(task.outputs), joined=made)
        tasks.append(task)
    return dataclasses.replace(multitask, segments=segments, tasks=tuple(tasks))


def _are_alike(leaves: Collection[str], bounds: Mapping[str, Range]) -> bool:
    """Whether one scale serves all; what is always zero asks for none, and what is not known stays as it is."""
    if any(leaf not in bounds for leaf in leaves):
        return True
    widths = [width for leaf in leaves if (width := _width(bounds[leaf])) > 0]
    return not widths or max(widths) <= MOST_ALIKE * min(widths)


def _width(bounds: Range) -> float:
    """Zero is in every range."""
    return max(bounds[1], 0.0) - min(bounds[0], 0.0)


def _ranges(
    graph: Graph, leaves: Collection[str], feeds: Sequence[Arrays], ranges: Mapping[str, Range]
) -> dict[str, Range]:
    """The range of every leaf that can be told."""
    found = {leaf: (0.0, 1.0) for leaf in leaves if is_probability(graph, leaf)}
    for leaf in leaves:
        if leaf not in found and (known := _known(graph, leaf, ranges)) is not None:
            found[leaf] = known
    open_names = sorted(leaf for leaf in leaves if leaf not in found)
    for values in over_frames(lambda: Taps(graph, open_names), feeds) if open_names else ():
        for name in open_names:
            low, high = float(values[name].min()), float(values[name].max())
            before = found.get(name, (low, high))
            found[name] = min(low, before[0]), max(high, before[1])
    return {name: bounds for name, bounds in found.items() if np.isfinite(bounds).all()}


def _known(graph: Graph, tensor: str, ranges: Mapping[str, Range]) -> Range | None:
    """The range of a tensor, or of what it is moved from."""
    while tensor not in ranges:
        op = graph.producer(tensor)
        if op is None or moves(graph, op) is None:
            return None
        tensor = op.inputs[0]
    return ranges[tensor]


def _same(join: Join) -> dict[str, str]:
    return {leaf: leaf for leaf in join.leaves}


def _equals(floating: FloatModel, graph: Graph, output: str, join: Join, feeds: Sequence[Arrays]) -> bool:
    """Whether the joined parts are the output, on every frame."""
    whole = floating.boundaries[output]
    leaves = list(dict.fromkeys(join.leaves))
    before, after, joined = Taps(floating.graph, [whole]), Taps(graph, leaves), join.joined(output, _same(join))
    return all(relative_error(joined(after(feed)), before(feed)[whole]) <= EQUAL for feed in feeds)


def _parted(
    multitask: MultiTaskModel, floating: FloatModel, graph: Graph, chosen: Mapping[str, Join]
) -> tuple[FloatModel, dict[str, Range]]:
    """The float model that ends in parts, and the ranges of those that are known."""
    boundaries = {name: tensor for name, tensor in floating.boundaries.items() if name not in chosen}
    writers = {name: segment.name for segment in multitask.segments for name in segment.outputs}
    cuts = {name for segment in multitask.segments for name in segment.inputs}
    joined = {}
    for output, join in chosen.items():
        names = {}
        for leaf in dict.fromkeys(join.leaves):
            # A segment reads a cut. Whatever else its task needs it writes itself, even where another one does, too.
            there = [n for n, t in boundaries.items() if t == leaf and (n in cuts or writers[n] == writers[output])]
            name = there[0] if there else leaf
            while not there and (name in boundaries or name in chosen):
                name = f"{name}/part"
            names[leaf] = name
            boundaries[name] = leaf
            writers.setdefault(name, writers[output])
        joined[output] = join.joined(output, names)
    dropped = {floating.boundaries[name] for name in chosen} - set(boundaries.values())
    leaves = [leaf for join in chosen.values() for leaf in join.leaves]
    outputs = tuple(dict.fromkeys([*(o for o in graph.outputs if o not in dropped), *leaves]))
    graph = prune(dataclasses.replace(graph, outputs=outputs))
    known = {leaf: (0.0, 1.0) for leaf in leaves if is_probability(graph, leaf)}
    return dataclasses.replace(floating, graph=graph, boundaries=boundaries, joined=joined), known


def _sentence(output: str, join: Join, bounds: Mapping[str, Range]) -> str:
    leaves = sorted(dict.fromkeys(join.leaves), key=lambda leaf: _width(bounds[leaf]) if leaf in bounds else 0.0)
    (low, high), (least, most) = (bounds[leaf] for leaf in (leaves[-1], leaves[0]))
    return (
        f"Parted output {output} into {len(leaves)} tensors, each with a scale of its own: it joins values of "
        f"{low:.4g} to {high:.4g} and of {least:.4g} to {most:.4g}, and one scale would lose the latter."
    )
