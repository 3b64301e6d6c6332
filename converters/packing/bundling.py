"""Packs a converted model into a bundle: manifest, golden inputs and outputs, model card."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import multigraft
from multigraft.agreement.agreement import Agreement
from multigraft.bundle.bundle import GOLDEN_INPUTS, GOLDEN_OUTPUTS, MODEL, MODEL_CARD, Bundle
from multigraft.bundle.manifest import SPREAD, Input, Manifest, Segment
from multigraft.converters.conversion.interpreters import PREFERRED, Arrays, Runner, version_of
from multigraft.converters.conversion.transposes import Permutation
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.packing.kernel_spread import kernel_spread
from multigraft.converters.packing.materials import bill_of_materials
from multigraft.converters.packing.model_card import model_card
from multigraft.converters.packing.verify import Verification, run_segments
from multigraft.converters.quantising.layer_error import LayerErrorReport, spec_of
from multigraft.converters.quantising.precisions import AROUND_BINARY, Precision
from multigraft.errors import ConversionError, InputError
from multigraft.npz import stored_npz_bytes
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.preparation import Preparation
from multigraft.tensors.specs import TensorSpec
from multigraft.tflite.checking.check import check_tflite
from multigraft.tflite.graph import Graph, Model
from multigraft.tflite.macs import graph_macs

_TOOLS = ("onnx", "onnxruntime", "litert-quantizer", "ai-edge-litert", "numpy")
GOLDEN_BYTES = 4 << 20
"""Golden inputs and outputs travel with every bundle, and a device runs them at each start."""
FEWEST_GOLDEN = 2
_COMPUTES = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL", "CONV_3D"})


@dataclass(frozen=True)
class BundleParts:
    """What a bundle is made of.

    Attributes:
        name: The bundle's name.
        precision: As asked for.
        multitask: Tasks, inputs and provenance.
        graph: The whole quantised graph.
        model: The cut model.
        content: The same as a file.
        segments: As cut.
        boundaries: Boundary name to tensor of ``graph``.
        layouts: ONNX name of inputs and boundaries to the permutation that takes its value there to that of ``graph``.
        golden: Stored inputs to record, one entry per case, the most telling first.
        layers: Quantisation error.
        verification: What was checked.
        agreements: Task to its agreement with the float model.
        calibration_frames: How many frames set the ranges.
        converter: Version of onnx2tf.
        safety: What to say in the manifest about precision; empty if there is nothing.
    """

    name: str
    precision: Precision
    multitask: MultiTaskModel
    graph: Graph
    model: Model
    content: bytes
    segments: tuple[SegmentSpec, ...]
    boundaries: Mapping[str, str]
    layouts: Mapping[str, Permutation]
    golden: tuple[Arrays, ...]
    layers: LayerErrorReport
    verification: Verification
    agreements: Mapping[str, Agreement]
    calibration_frames: int
    converter: str
    safety: Mapping[str, Any]


def pack(parts: BundleParts) -> Bundle:
    """The bundle of ``parts``.

    Raises:
        ConversionError: Whoever opens it would refuse its model.
    """
    try:
        check_tflite(parts.content, "the converted model")
    except InputError as error:
        raise ConversionError(error.problem, "this is a defect of multigraft, please report it") from error
    golden = _golden(parts)
    spread = kernel_spread(
        parts.content,
        golden,
        [name for task in parts.multitask.tasks for name in task.outputs if name in golden[0][1]],
        lambda runner, case: run_segments(runner, parts.segments, case),
        graph_macs(parts.graph),
    )
    manifest = _manifest(parts)
    manifest = dataclasses.replace(manifest, provenance={**manifest.provenance, SPREAD: spread})
    contents = {
        MODEL: parts.content,
        GOLDEN_INPUTS: stored_npz_bytes(stacked([inputs for inputs, _ in golden])),
        GOLDEN_OUTPUTS: stored_npz_bytes(stacked([outputs for _, outputs in golden])),
        MODEL_CARD: model_card(manifest).encode(),
    }
    return Bundle.create(manifest, contents)


def recorded(run: Callable[[Arrays], Arrays], cases: Sequence[Arrays]) -> list[tuple[Arrays, Arrays]]:
    """Golden inputs, each with its outputs: as many as :data:`GOLDEN_BYTES` hold, :data:`FEWEST_GOLDEN` at least.

    Args:
        run: Answers a case.
        cases: Stored inputs, the most telling first.
    """
    kept: list[tuple[Arrays, Arrays]] = []
    for case in cases:
        kept.append((case, run(case)))
        each = sum(value.nbytes for values in kept[0] for value in values.values())
        if len(kept) >= FEWEST_GOLDEN and (len(kept) + 1) * each > GOLDEN_BYTES:
            break
    return kept


def stacked(cases: Sequence[Arrays]) -> Arrays:
    """Values of all cases by name, the first axis being the case."""
    return {name: np.stack([case[name] for case in cases]) for name in cases[0]}


def _golden(parts: BundleParts) -> list[tuple[Arrays, Arrays]]:
    runner = Runner(parts.content, PREFERRED)
    outputs = dict.fromkeys(n for s in parts.segments for n in s.outputs)

    def run(case: Arrays) -> Arrays:
        values = run_segments(runner, parts.segments, case)
        return {n: values[n] for n in outputs}

    return recorded(run, [{n: case[n] for n in parts.graph.inputs} for case in parts.golden])


def _manifest(parts: BundleParts) -> Manifest:
    boundaries = {n: n for n in parts.graph.inputs} | {
        n: parts.boundaries[n] for s in parts.segments for n in (*s.inputs, *s.outputs) if n in parts.boundaries
    }
    tasks = tuple(
        dataclasses.replace(t, fidelity={**t.fidelity, **_fidelity(parts, t.name)}) for t in parts.multitask.tasks
    )
    return Manifest(
        name=parts.name,
        tasks=tasks,
        segments=tuple(_segment(parts, s, g) for s, g in zip(parts.segments, parts.model.subgraphs, strict=True)),
        inputs=tuple(Input(n, _laid_out(p, parts.layouts.get(n))) for n, p in parts.multitask.inputs.items()),
        tensors=tuple(_tensor(name, parts.graph, tensor) for name, tensor in boundaries.items()),
        files={},
        provenance={**parts.multitask.provenance, **_provenance(parts)},
    )


def _laid_out(preparation: Preparation, layout: Permutation | None) -> Preparation:
    """The preparation that fills the tensor as the graph holds it; pictures always lie channels last."""
    if not isinstance(preparation, ArrayPreparation) or layout is None:
        return preparation
    order = tuple(axis - 1 for axis in layout[1:])
    return dataclasses.replace(preparation, order=() if order == tuple(sorted(order)) else order)


def _tensor(name: str, graph: Graph, tensor: str) -> TensorSpec:
    return dataclasses.replace(spec_of(graph.tensors[tensor]), name=name)


def _segment(parts: BundleParts, spec: SegmentSpec, graph: Graph) -> Segment:
    return Segment(
        name=spec.name,
        signature=spec.name,
        inputs={n: n for n in spec.inputs},
        outputs={n: n for n in spec.outputs},
        precision=_precision(parts.precision, graph),
        macs=graph_macs(graph),
        weights_bytes=graph.weights_bytes(),
        operators=graph.operator_counts(),
    )


def _precision(asked: Precision, graph: Graph) -> str:
    """The precision asked for, and float32 beside or instead of it where layers were kept in float."""
    if asked in AROUND_BINARY:
        return asked if _has_bits(graph) else _precision(AROUND_BINARY[asked], graph)
    if asked not in ("int8", "int4"):
        return asked
    is_float = {graph.tensors[op.outputs[0]].dtype == "float32" for op in graph.ops if op.name in _COMPUTES}
    if is_float == {True}:
        return "float32"
    return f"{asked}+float32" if True in is_float else asked


def _has_bits(graph: Graph) -> bool:
    return any(op.custom_code == "LceBconv2d" for op in graph.ops)


def _fidelity(parts: BundleParts, task: str) -> dict[str, Any]:
    measured = parts.agreements.get(task)
    return {"quantised_agreement": measured.to_json()} if measured else {}


def computing_types(graph: Graph) -> str:
    """The element types that the layers of a graph compute in, ``int8`` or ``int8+float32``; of bits, the precision."""
    if _has_bits(graph):
        return "binary-int8" if any(graph.tensors[op.outputs[0]].dtype == "int8" for op in graph.ops) else "binary"
    layers = [op for op in graph.ops if op.name in _COMPUTES] or list(graph.ops)
    return "+".join(dict.fromkeys(sorted((graph.tensors[op.outputs[0]].dtype for op in layers), reverse=True)))


def made_with(converter: str = "") -> dict[str, Any]:
    """What stands in every manifest about the software behind it.

    Args:
        converter: Version of onnx2tf; empty where nothing was converted.
    """
    return {
        "multigraft": multigraft.__version__,
        "tools": {tool: importlib.metadata.version(tool) for tool in _TOOLS},
        "golden": {"backend": "litert", "version": version_of(PREFERRED), "machine": platform.machine()},
        "sbom": bill_of_materials(converter),
    }


def _provenance(parts: BundleParts) -> dict[str, Any]:
    worst = parts.layers.worst
    software = made_with(parts.converter)
    return {
        **software,
        "tools": {"onnx2tf": parts.converter} | software["tools"],
        "precision": parts.precision,
        "calibration_frames": parts.calibration_frames,
        "verification": parts.verification.to_json(),
        "worst_layer": dataclasses.asdict(worst) if worst else None,
        **parts.safety,
    }
