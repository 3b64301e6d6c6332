"""Checks after every build: segments in turn equal the uncut model, and the float model equals the ONNX model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.converters.conversion.boundary_tensors import (
    ABSOLUTE_TOLERANCE,
    FloatModel,
    OnnxRunner,
    relative_error,
    to_tflite_layout,
)
from multigraft.converters.conversion.interpreters import (
    MAIN,
    PREFERRED,
    Arrays,
    Runner,
    available,
    main_signature,
    version_of,
)
from multigraft.converters.conversion.trial import crash_of
from multigraft.converters.network.multitask import SegmentSpec
from multigraft.converters.packing.first_difference import first_difference
from multigraft.errors import ConversionError
from multigraft.tflite.graph import Graph, Model
from multigraft.tflite.macs import graph_macs
from multigraft.tflite.tflite_file import write

FLOAT_TOLERANCE = 1e-3
"""Largest difference of the float .tflite to the ONNX model, over the largest magnitude of the ONNX output on all
frames. Measured: 4e-7 on the demo's networks and 3e-6 on MobileNetV2 with random weights; a wrong layout gives more
than 0.1. An output that hardly moves may differ by :data:`ABSOLUTE_TOLERANCE`, if all that it is computed from is
equal."""

VERIFIED_MACS = 6_000_000_000
"""Multiply-accumulates of the uncut model that one interpreter runs at most for the comparison with its segments: some
run int8 at 2 to 3 billion a second."""

LEAST_VERIFIED = 8
"""Inputs that are compared however large the model is."""

DIFFERING_FRAMES = 3
"""Frames on which the first difference is looked for: every tensor of both graphs is held for each."""


@dataclass(frozen=True)
class Verification:
    """What was checked, with figures.

    Attributes:
        inputs: Inputs on which segments and uncut model were compared, per backend.
        mismatches: Output elements that differed over all of them; always 0, as a difference is an error.
        backends: Interpreter to its version.
        refused: Interpreter to why it does not run this model (tflite-runtime lacks newer operators).
        float_error: Task output to the largest relative difference of the float .tflite to ONNX.
        float_inputs: Inputs on which that was measured.
    """

    inputs: int
    mismatches: int
    backends: dict[str, str]
    refused: dict[str, str] = field(default_factory=dict)
    float_error: dict[str, float] = field(default_factory=dict)
    float_inputs: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def verify_segments(
    uncut: Graph,
    model: bytes,
    segments: Sequence[SegmentSpec],
    boundaries: Mapping[str, str],
    task_outputs: Iterable[str],
    inputs: Sequence[Arrays],
) -> Verification:
    """Run the segments in turn through their signatures and compare with the uncut model, bit for bit.

    Args:
        uncut: The whole quantised graph.
        model: The cut .tflite file.
        segments: In running order.
        boundaries: Boundary name to tensor of ``uncut``.
        task_outputs: Boundaries to compare.
        inputs: Stored values of the graph's inputs.

    Raises:
        ConversionError: They differ, or the preferred interpreter does not run the model.
    """
    outputs = {name: boundaries[name] for name in task_outputs}
    whole = write(Model((uncut,), (dataclasses.replace(main_signature(uncut), outputs=outputs),)))
    ran: dict[str, str] = {}
    refused: dict[str, str] = {}
    for backend in available():
        if backend != PREFERRED and (crash := crash_of(whole, backend)):
            refused[backend] = f"{backend} crashes on the model ({crash})"
            continue
        try:
            reference, pieces = Runner(whole, backend), Runner(model, backend)
            reference(inputs[0])
        except ConversionError as error:
            refused[backend] = error.problem
            continue
        for number, feed in enumerate(inputs):
            expected, given = reference(feed), run_segments(pieces, segments, feed)
            wrong = {n: int((_bits(expected[n]) != _bits(given[n])).sum()) for n in outputs}
            if any(wrong.values()):
                name = max(wrong, key=lambda n: wrong[n])
                raise ConversionError(
                    f"on {backend} the segments differ from the uncut model in {wrong[name]} elements of {name!r} "
                    f"at input {number}",
                    "report this as a bug of multigraft with the model",
                )
        ran[backend] = version_of(backend)
    if PREFERRED not in ran:
        raise ConversionError(
            f"{PREFERRED} does not run the model ({refused.get(PREFERRED, 'it is not installed')})",
            "choose another precision or keep layers in float",
        )
    return Verification(len(inputs), 0, ran, refused)


def affordable(graph: Graph, inputs: Sequence[Arrays]) -> list[Arrays]:
    """As many of ``inputs``, evenly spaced, as may be compared without taking minutes for a large model."""
    count = min(len(inputs), max(LEAST_VERIFIED, VERIFIED_MACS // max(1, graph_macs(graph))))
    return [inputs[int(i)] for i in np.linspace(0, len(inputs) - 1, count)]


def run_segments(runner: Runner, segments: Sequence[SegmentSpec], feed: Arrays) -> Arrays:
    """Run all segments in turn; returns every boundary's value."""
    values = dict(feed)
    for segment in segments:
        values.update(runner({n: values[n] for n in segment.inputs}, segment.name))
    return values


def float_error(
    converted: FloatModel,
    model: onnx.ModelProto,
    task_outputs: Sequence[str],
    frames: Sequence[Arrays],
) -> dict[str, float]:
    """Largest relative difference of the float graph to ONNX on any frame, by task output.

    Args:
        frames: Values of the ONNX inputs (NCHW), of frames as a camera makes them: on random pixels a sound network may
            amplify rounding to a quarter of its range, onnxruntime's own as well.

    Raises:
        ConversionError: It exceeds :data:`FLOAT_TOLERANCE`; the message names the first tensor that differs.
    """
    graph = converted.graph
    outputs = {name: converted.boundaries[name] for name in task_outputs}
    runner = Runner(write(Model((graph,), (dataclasses.replace(main_signature(graph), outputs=outputs),))))
    onnx_runner = OnnxRunner(model, task_outputs)
    errors = dict.fromkeys(task_outputs, 0.0)
    distances, sizes = dict.fromkeys(task_outputs, 0.0), dict.fromkeys(task_outputs, 1e-12)
    for feed in frames:
        reference = to_tflite_layout(onnx_runner(feed), converted.layouts)
        values = runner(to_tflite_layout(feed, converted.layouts), MAIN)
        for name in task_outputs:
            error, size = relative_error(values[name], reference[name]), float(np.abs(reference[name]).max(initial=0.0))
            errors[name] = max(errors[name], error)
            distances[name] = max(distances[name], error * max(size, 1e-12))
            sizes[name] = max(sizes[name], size if np.isfinite(size) else 0.0)
    of_range = {name: distances[name] / sizes[name] for name in task_outputs}
    worst = max(of_range, key=lambda n: of_range[n])
    if of_range[worst] <= FLOAT_TOLERANCE:
        return errors
    first = first_difference(graph, converted.layouts, model, frames[:DIFFERING_FRAMES])
    hardly_moves = max(distances.values()) <= ABSOLUTE_TOLERANCE
    if hardly_moves and (first is None or (first.absolute is not None and first.absolute <= ABSOLUTE_TOLERANCE)):
        return errors
    raise ConversionError(
        f"the float model differs from the ONNX model by {of_range[worst]:.2g} of the range of {worst!r}, "
        f"and at most {FLOAT_TOLERANCE} is allowed{f': {first}' if first else ''}",
        "replace this operator, which converts wrongly",
    )


def random_inputs(graph: Graph, count: int, seed: int = 0) -> list[Arrays]:
    """Inputs over the full range of their type: every int8 value, or float32 values of a normal distribution."""
    rng = np.random.default_rng(seed)

    def value(name: str) -> npt.NDArray[Any]:
        tensor = graph.tensors[name]
        if tensor.dtype == "float32":
            return rng.standard_normal(tensor.shape, np.float32)
        if tensor.quant is None:
            # Whole numbers are looked up somewhere: those that every network knows.
            return rng.integers(0, 2, tensor.shape).astype(tensor.dtype)
        limits = np.iinfo(tensor.dtype)
        return rng.integers(limits.min, limits.max, tensor.shape, np.int64, endpoint=True).astype(tensor.dtype)

    return [{name: value(name) for name in graph.inputs} for _ in range(count)]


def _bits(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The stored bits, so that equal NaN are equal."""
    return value.view(np.uint32) if value.dtype == np.float32 else value
