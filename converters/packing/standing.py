"""Quantised networks beside the others in a bundle: each a subgraph and a signature of its own, tensors as they were.

Whatever the bundle answers for such a task is compared with the file that it came from, bit for bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from multigraft.agreement.agreement import Agreement, agreement
from multigraft.bundle.bundle import GOLDEN_INPUTS, GOLDEN_OUTPUTS, MODEL, MODEL_CARD, Bundle
from multigraft.bundle.manifest import SPREAD, Input, Manifest, Segment, Task
from multigraft.converters.conversion.interpreters import (
    PREFERRED,
    Arrays,
    Runner,
    WholeFile,
    available,
    version_of,
)
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.standing import StandingNetwork
from multigraft.converters.packing.bundling import computing_types, made_with, stacked
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.packing.kernel_spread import kernel_spread
from multigraft.converters.packing.model_card import model_card
from multigraft.converters.packing.verify import random_inputs
from multigraft.converters.quantising.layer_error import spec_of
from multigraft.errors import ConversionError
from multigraft.npz import read_npz, stored_npz_bytes
from multigraft.tensors.preparation import preparer_for
from multigraft.tensors.quantisation import dequantise
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, Signature, Tensor
from multigraft.tflite.macs import graph_macs

COMPARED = 50
"""Random inputs on which the bundle and the file are compared, on each interpreter."""
COMPARED_FRAMES = 16
GOLDEN = 2


def empty_bundle(name: str, provenance: Mapping[str, Any]) -> Bundle:
    """A bundle of no task, for networks to stand in."""
    manifest = Manifest(name, (), (), (), (), {}, {**provenance, **made_with()})
    return Bundle.create(manifest, {MODEL: b"", MODEL_CARD: b""})


def with_standing(
    bundle: Bundle, networks: Sequence[StandingNetwork], order: Sequence[str], frames: Mapping[str, Frames]
) -> Bundle:
    """``bundle`` with further tasks, each a network as it was.

    Args:
        bundle: Of the tasks that were converted; may be empty.
        networks: What stands beside them.
        order: All tasks, in the order in which the manifest lists them.
        frames: Task to frames on which bundle and file are compared, besides random inputs; may be empty.

    Raises:
        ConversionError: The bundle answers otherwise than a file.
    """
    if not networks:
        return bundle
    pieces = [_piece(n) for n in networks]
    model = tflite_file.read(bundle.model) if bundle.model else Model(())
    first = len(model.subgraphs)
    signatures = tuple(_signature(g, first + i) for i, g in enumerate(pieces))
    whole = Model((*model.subgraphs, *pieces), (*model.signatures, *signatures), "multigraft")
    content = tflite_file.write(whole)
    checked = {n.name: _compared(n, g, content, frames.get(n.name, ())) for n, g in zip(networks, pieces, strict=True)}
    manifest = _manifest(bundle.manifest, networks, pieces, order, checked)
    golden, spread = _golden(bundle, pieces, content)
    manifest = dataclasses.replace(manifest, provenance={**manifest.provenance, SPREAD: spread})
    contents = {name: bundle.read(name) for name in bundle.manifest.files}
    card = model_card(manifest).encode()
    return Bundle.create(manifest, {**contents, **golden, MODEL: content, MODEL_CARD: card})


def standing_agreement(
    bundle: Bundle, network: StandingNetwork, frames: Frames, confidence: float, tolerance: float | None
) -> Agreement:
    """Agreement of the bundle's answers with the file's on frames."""
    answers = BundleRunner(bundle).outputs(network.name, frames)
    rows = [_real(network, WholeFile(network.content, PREFERRED)(x)) for x in _prepared(network, frames)]
    original = [np.concatenate([row[i] for row in rows]) for i in range(len(network.graph.outputs))]
    return agreement(network.kind, original, answers, confidence=confidence, tolerance=tolerance)


def _piece(network: StandingNetwork) -> Graph:
    """The network's graph under names that no other task has."""

    def named(name: str) -> str:
        return f"{network.name}/{name}" if name else ""

    graph = network.graph
    tensors: list[Tensor] = [dataclasses.replace(t, name=named(n)) for n, t in graph.tensors.items()]
    ops: list[Op] = [
        dataclasses.replace(op, inputs=tuple(map(named, op.inputs)), outputs=tuple(map(named, op.outputs)))
        for op in graph.ops
    ]
    inputs, outputs = map(named, graph.inputs), map(named, graph.outputs)
    return Graph.of(f"head_{network.name}", inputs, outputs, ops, tensors)


def _signature(graph: Graph, number: int) -> Signature:
    return Signature(graph.name, {n: n for n in graph.inputs}, {n: n for n in graph.outputs}, number)


def _compared(network: StandingNetwork, piece: Graph, content: bytes, frames: Frames) -> dict[str, Any]:
    """Run file and bundle on the same inputs on every interpreter; returns the figures for the manifest."""
    inputs = [i[piece.inputs[0]] for i in random_inputs(piece, COMPARED)]
    inputs += list(_prepared(network, frames[:COMPARED_FRAMES]))
    ran: dict[str, str] = {}
    refused: dict[str, str] = {}
    for backend in available():
        try:
            original, runner = WholeFile(network.content, backend), Runner(content, backend)
            original(inputs[0])
        except (ConversionError, ValueError, RuntimeError) as error:
            refused[backend] = " ".join(str(error).split())[:200]
            continue
        for number, value in enumerate(inputs):
            given = runner({piece.inputs[0]: value}, piece.name)
            expected = original(value)
            if any(given[n].tobytes() != e.tobytes() for n, e in zip(piece.outputs, expected, strict=True)):
                raise ConversionError(
                    f"on {backend} task {network.name!r} answers otherwise than {network.path} at input {number}",
                    "report this as a bug of multigraft with the file",
                )
        ran[backend] = version_of(backend)
    if PREFERRED not in ran:
        why = refused.get(PREFERRED, "it is not installed")
        raise ConversionError(f"{PREFERRED} does not run {network.path} ({why})", "convert it again")
    return {"inputs": len(inputs), "mismatches": 0, "backends": ran, "refused": refused}


def _prepared(network: StandingNetwork, frames: Frames) -> Iterator[np.ndarray[Any, Any]]:
    tensor = network.graph.tensors[network.graph.inputs[0]]
    preparer = preparer_for(network.preprocessing, spec_of(tensor))
    for frame in frames:
        value = np.empty(tensor.shape, tensor.dtype)
        preparer.fill(frame, value)
        yield value


def _real(network: StandingNetwork, stored: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    specs = [spec_of(network.graph.tensors[n]) for n in network.graph.outputs]
    return [dequantise(value, spec) for value, spec in zip(stored, specs, strict=True)]


def _manifest(
    manifest: Manifest,
    networks: Sequence[StandingNetwork],
    pieces: Sequence[Graph],
    order: Sequence[str],
    checked: Mapping[str, Any],
) -> Manifest:
    tasks, segments, inputs, tensors = [], [], [], []
    for network, graph in zip(networks, pieces, strict=True):
        tasks.append(Task(network.name, network.kind, tuple(graph.outputs), (graph.name,), network.labels))
        segments.append(
            Segment(
                graph.name,
                graph.name,
                {n: n for n in graph.inputs},
                {n: n for n in graph.outputs},
                computing_types(graph),
                network.macs,
                network.weights_bytes,
                graph.operator_counts(),
            )
        )
        inputs.append(Input(graph.inputs[0], network.preprocessing))
        tensors += [spec_of(graph.tensors[n]) for n in (*graph.inputs, *graph.outputs)]
    provenance = dict(manifest.provenance)
    sources = {n.name: {"sha256": n.source_sha256} for n in networks}
    provenance["sources"] = {**provenance.get("sources", {}), **sources}
    provenance["as_it_is"] = dict(checked)
    whole = (*manifest.tasks, *tasks)
    return dataclasses.replace(
        manifest,
        tasks=tuple(sorted(whole, key=lambda task: order.index(task.name))),
        segments=(*manifest.segments, *segments),
        inputs=(*manifest.inputs, *inputs),
        tensors=(*manifest.tensors, *tensors),
        provenance=provenance,
    )


def _golden(bundle: Bundle, pieces: Sequence[Graph], content: bytes) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Golden inputs and outputs with those of the further networks, and by how much kernels differ.

    There are as many cases as before.
    """
    has_some = GOLDEN_INPUTS in bundle.manifest.files
    inputs: Arrays = dict(read_npz(bundle.read(GOLDEN_INPUTS))) if has_some else {}
    outputs: Arrays = dict(read_npz(bundle.read(GOLDEN_OUTPUTS))) if has_some else {}
    spread = bundle.manifest.provenance.get(SPREAD, {"kernels": [], "most": {}, "rms": {}})
    count = max((len(v) for v in inputs.values()), default=GOLDEN)
    runner = Runner(content, PREFERRED)
    for graph in pieces:
        cases = [(case, runner(case, graph.name)) for case in random_inputs(graph, count, seed=1)]
        inputs |= stacked([case for case, _ in cases])
        outputs |= stacked([answers for _, answers in cases])

        def run(runner: Runner, case: Arrays, name: str = graph.name) -> Arrays:
            return runner(case, name)

        found = kernel_spread(content, cases, graph.outputs, run, graph_macs(graph))
        spread = found | {of: {**spread[of], **found[of]} for of in ("most", "rms")}
    return {GOLDEN_INPUTS: stored_npz_bytes(inputs), GOLDEN_OUTPUTS: stored_npz_bytes(outputs)}, spread
