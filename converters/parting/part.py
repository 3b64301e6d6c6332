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
from multigraft.converters.parting.slices import slices_above_joins
from multigraft.converters.parting.tails import MOST_ALIKE, tails_above_joins
from multigraft.converters.quantising.ranges import Range
from multigraft.tensors.joining import MOST_STEPS, Joined, Part
from multigraft.tflite.graph import Graph

PARTING_FRAMES = 8
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
    outputs = dict.fromkeys(o for task in multitask.tasks if task.kind in PARTED_KINDS for o in task.outputs)
    seen = _Seen(floating, ends, feeds, ranges)
    wholes = [name for name in outputs if floating.boundaries[name] not in ends]
    # What rewrites make has no range but a measured one.
    for rewrites in (True, False) if feeds else (False,):
        parted = [name for name in wholes if seen.join_of(name, seen.graph([name], rewrites)).step is not None]
        graph = seen.graph(parted, rewrites)
        joins = {name: seen.join_of(name, graph) for name in parted}
        if joins and all(seen.is_equal(graph, name, join) for name, join in joins.items()):
            made, known = _parted(multitask, floating, graph, joins)
            sentences = tuple(_sentence(name, join, seen.bounds(graph, join.leaves)) for name, join in joins.items())
            return Parting(made, known, sentences)
    return Parting(floating)


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


@dataclass(frozen=True)
class _Seen:
    """A float model, and what of it is known."""

    floating: FloatModel
    ends: Collection[str]
    feeds: Sequence[Arrays]
    ranges: Mapping[str, Range]
    measured: dict[str, Range] = field(default_factory=dict)

    def graph(self, outputs: Iterable[str], rewrites: bool) -> Graph:
        """The float graph, where asked for with nothing joined before ``outputs`` that can be joined behind it."""
        graph = self.floating.graph
        for tensor in (self.floating.boundaries[name] for name in outputs if rewrites):
            graph = tails_above_joins(graph, tensor, self.ends, self.are_alike)
            graph = slices_above_joins(graph, tensor, self.ends)
        return graph

    def join_of(self, output: str, graph: Graph) -> Join:
        """What ``output`` is joined of that has to have a scale of its own."""
        join = join_of(graph, self.floating.boundaries[output], self.ends)
        self.bounds(graph, () if join.step is None else join.leaves)
        thin = thinned(join, lambda leaves: self.are_alike(graph, leaves))
        return thin if len(list(thin.steps(_same(thin)))) <= MOST_STEPS else Join(join.tensor)

    def is_equal(self, graph: Graph, output: str, join: Join) -> bool:
        """Whether the parts of ``graph``, joined, are the output of the float model on every frame."""
        whole, leaves = self.floating.boundaries[output], list(dict.fromkeys(join.leaves))
        before, after = Taps(self.floating.graph, [whole]), Taps(graph, leaves)
        joined = join.joined(output, _same(join))
        return all(relative_error(joined(after(feed)), before(feed)[whole]) <= EQUAL for feed in self.feeds)

    def are_alike(self, graph: Graph, leaves: Collection[str]) -> bool:
        """Whether one scale serves all; what is always zero asks for none, and what is not known stays as it is."""
        bounds = self.bounds(graph, leaves)
        if any(leaf not in bounds for leaf in leaves):
            return True
        widths = [width for leaf in leaves if (width := _width(bounds[leaf])) > 0]
        return not widths or max(widths) <= MOST_ALIKE * min(widths)

    def bounds(self, graph: Graph, leaves: Collection[str]) -> dict[str, Range]:
        """The range of every leaf that can be told."""
        found = {leaf: self.measured[leaf] for leaf in leaves if leaf in self.measured}
        for leaf in leaves:
            if leaf not in found and is_probability(graph, leaf):
                found[leaf] = 0.0, 1.0
            elif leaf not in found and (known := _known(graph, leaf, self.ranges)) is not None:
                found[leaf] = known
        open_names = sorted({leaf for leaf in leaves if leaf not in found})
        for values in over_frames(lambda: Taps(graph, open_names), self.feeds) if open_names else ():
            for name in open_names:
                low, high = float(values[name].min()), float(values[name].max())
                before = found.get(name, (low, high))
                found[name] = min(low, before[0]), max(high, before[1])
        # Other rewrites of the graph may give its new tensors the same names.
        self.measured.update({leaf: bounds for leaf, bounds in found.items() if leaf in self.floating.graph.tensors})
        return {leaf: bounds for leaf, bounds in found.items() if np.isfinite(bounds).all()}


def _same(join: Join) -> dict[str, str]:
    return {leaf: leaf for leaf in join.leaves}


def _width(bounds: Range) -> float:
    """Zero is in every range."""
    return max(bounds[1], 0.0) - min(bounds[0], 0.0)


def _known(graph: Graph, tensor: str, ranges: Mapping[str, Range]) -> Range | None:
    """The range of a tensor, or of what it is moved from."""
    while tensor not in ranges:
        op = graph.producer(tensor)
        if op is None or moves(graph, op) is None:
            return None
        tensor = op.inputs[0]
    return ranges[tensor]


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
