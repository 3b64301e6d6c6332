"""What the collector runs for the ranges of the tensors between the taps: short stretches of each network.

A stretch reads what the network itself gives (its input, taps, answers) and what earlier stretches gave, and returns
the tensors between, a few MiB at most, so that a small device never holds all of a network at once. All stretches are
subgraphs of the taps bundle's model and share its weights.

Of small networks they stay in memory beside the networks. Of others they do not, and are named as the subgraphs that
TFLite keeps for its own validation (``IsValidationSubgraph`` in tensorflow/lite/core/subgraph.h): no delegate is
applied to such a subgraph, so that XNNPACK packs no second copy of the weights for it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from multigraft.bundle.bundle import MODEL, Bundle
from multigraft.bundle.tap_outputs import RANGES_SIGNATURE, RESIDENT
from multigraft.converters.conversion.interpreters import Runner, available
from multigraft.converters.network.multitask import SegmentSpec
from multigraft.converters.packing.segments import cut_into_segments
from multigraft.converters.quantising.ranges import activations
from multigraft.errors import ConversionError
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Signature

STRETCH_BYTES = 6 << 20
"""Most bytes of the tensors that one stretch returns; a larger tensor is a stretch of its own."""

RESIDENT_BYTES = 4 << 20
"""Bytes of what all stretches return and of their weights, up to which they stay in memory."""

UNDELEGATED = "VALIDATION:"

_NamedStretch = tuple[Graph, dict[str, str]]
"""A stretch, and tensor to what the bundle calls it."""

_MOVES = frozenset({"PAD", "RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS"})
"""Operators whose results have the range of what they read."""


def with_inner_stretches(
    bundle: Bundle, networks: Sequence[str], stretch_bytes: int = STRETCH_BYTES, resident_bytes: int = RESIDENT_BYTES
) -> Bundle:
    """The same taps bundle with the stretches of every network behind its segments.

    Their signatures are :data:`RANGES_SIGNATURE`, a number, in the order in which they can run, and :data:`RESIDENT` if
    they stay in memory; arguments are named as the bundle's tensors. They stand in the model alone: nothing but the
    collector runs them.

    Args:
        bundle: One segment per network, ``head_NETWORK``.
        networks: Their names.
        stretch_bytes: Most bytes of the tensors that one stretch returns.
        resident_bytes: Bytes of all of them up to which they stay in memory.
    """
    model = tflite_file.read(bundle.model)
    named: list[_NamedStretch] = []
    for network in networks:
        signature = next(s for s in model.signatures if s.name == f"head_{network}")
        called = {tensor: name for name, tensor in {**signature.inputs, **signature.outputs}.items()}
        graph = model.subgraphs[signature.subgraph]
        named += [(stretch, called) for stretch in stretches(graph, f"{network}/", stretch_bytes)]
    stays = sum(g.weights_bytes() + _returned_bytes(g) for g, _ in named) <= resident_bytes
    larger = _with_subgraphs(model, named, stays)
    if stays and not _runs(larger):
        larger = _with_subgraphs(model, named, False)
    contents = {file: bundle.read(file) for file in bundle.manifest.files}
    return Bundle.create(bundle.manifest, {**contents, MODEL: tflite_file.write(larger)})


def _with_subgraphs(model: Model, named: Sequence[_NamedStretch], stays: bool) -> Model:
    """The model with stretches behind its subgraphs; each with the arguments whose names are not those of tensors."""
    subgraphs, signatures = list(model.subgraphs), list(model.signatures)
    for number, (stretch, called) in enumerate(named):
        name = f"{RANGES_SIGNATURE}{number:04}{RESIDENT if stays else ''}"
        inputs, outputs = {called.get(t, t): t for t in stretch.inputs}, {t: t for t in stretch.outputs}
        signatures.append(Signature(name, inputs, outputs, len(subgraphs)))
        subgraphs.append(dataclasses.replace(stretch, name=name if stays else f"{UNDELEGATED}{name}"))
    return dataclasses.replace(model, subgraphs=tuple(subgraphs), signatures=tuple(signatures))


def _runs(model: Model) -> bool:
    """Whether all interpreters run all of it: XNNPACK refuses some graphs for what they return."""
    content = tflite_file.write(model)
    try:
        for backend in available():
            runner = Runner(content, backend)
            for signature in model.signatures:
                tensors = model.subgraphs[signature.subgraph].tensors
                zeros = {arg: np.zeros(tensors[t].shape, tensors[t].dtype) for arg, t in signature.inputs.items()}
                runner(zeros, signature.name)
    except ConversionError:
        return False
    return True


def stretches(graph: Graph, prefix: str, stretch_bytes: int = STRETCH_BYTES) -> Iterator[Graph]:
    """Parts of a graph that together return its inner tensors: all that it computes but does not return itself.

    Left out are tensors whose name does not begin with ``prefix`` (the converter's own), and those that only move
    values.

    Args:
        graph: One network's, float32.
        prefix: What the names of the network's tensors begin with.
        stretch_bytes: Most bytes of the tensors that one part returns.
    """
    given = {*graph.inputs, *graph.outputs}
    moved = {output for op in graph.ops if op.name in _MOVES for output in op.outputs}
    inner = [t for t in activations(graph) if t not in given | moved and t.startswith(prefix)]
    known = list(dict.fromkeys((*graph.inputs, *graph.outputs)))
    for group in _grouped(graph, inner, given, stretch_bytes):
        part, _ = cut_into_segments(
            graph, [SegmentSpec("stretch", tuple(known), tuple(group))], {t: t for t in (*known, *group)}
        )
        yield part.main
        known += group


def _returned_bytes(graph: Graph) -> int:
    return sum(graph.tensors[t].stored_bytes for t in graph.outputs)


def _grouped(graph: Graph, inner: Sequence[str], given: set[str], stretch_bytes: int) -> list[list[str]]:
    """Inner tensors by stretch.

    Cut, where possible, between tensors that are computed from what the network gives alone: a tensor that crosses a
    cut is in memory twice.
    """
    sizes = [graph.tensors[t].stored_bytes for t in inner]
    begins = _clean_beginnings(graph, inner, given)
    groups: list[list[str]] = []
    room = 0
    for begin, end in itertools.pairwise([*begins, len(inner)]):
        whole = sum(sizes[begin:end])
        if whole > room:
            groups.append([])
            room = stretch_bytes
        for tensor, size in zip(inner[begin:end], sizes[begin:end], strict=True):
            if size > room and groups[-1]:
                groups.append([])
                room = stretch_bytes
            groups[-1].append(tensor)
            room -= size
    return groups


def _clean_beginnings(graph: Graph, inner: Sequence[str], given: set[str]) -> list[int]:
    """Positions in ``inner`` behind which nothing is computed from an inner tensor before them."""
    producers = graph.producers()
    last_use = list(range(len(inner)))
    for position, tensor in enumerate(inner):
        open_ends = list(producers[tensor].inputs)
        while open_ends:
            name = open_ends.pop()
            if name in given or name not in producers:
                continue
            if name in inner:
                last_use[inner.index(name)] = position
            else:
                open_ends += producers[name].inputs
    reached = [-1, *itertools.accumulate(last_use, max)]
    return [p for p in range(len(inner)) if reached[p] < p]
