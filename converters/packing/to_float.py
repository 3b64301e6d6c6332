"""The multi-task ONNX graph as a float .tflite graph, compared with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx

from multigraft.converters.binary.firm_frames import depends_on_rounding, firmest
from multigraft.converters.binary.signs import Signs, rewrite_signs
from multigraft.converters.conversion.boundary_tensors import FloatModel, inputs_as_in_onnx, locate, with_outputs
from multigraft.converters.conversion.converter import Converter
from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.conversion.rewriting import rename
from multigraft.converters.conversion.tensor_names import name_as_in_onnx
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.job.progress import Report
from multigraft.converters.network.independent_parts import independent_parts
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.packing.feeds import Feeds
from multigraft.converters.packing.first_difference import first_difference
from multigraft.converters.packing.steadiness import steady
from multigraft.converters.packing.verify import float_error
from multigraft.errors import ConversionError
from multigraft.tflite.graph import Graph, Model, Signature

FLOAT_INPUTS = 8
"""How many frames, evenly spaced over those given, the comparison looks at."""

SIGN_FRAMES = 32
"""On how many it is looked whether a sign meets 0, and of how many those are taken that keep farthest from it."""


def to_float(
    multitask: MultiTaskModel,
    task_outputs: Sequence[str],
    feeds: Feeds,
    converter: Converter,
    work_dir: Path,
    report: Report,
    checkpoints: Checkpoints | None,
    is_binary: bool,
) -> tuple[FloatModel, dict[str, float], int, Signs | None]:
    """The float model and how far it is from ONNX, by task output, on how many frames; and its signs."""
    cuts = [o for s in multitask.segments for o in s.outputs if o not in task_outputs]
    prepared = with_outputs(multitask.model, [*cuts, *task_outputs])
    given = list(feeds.spaced(SIGN_FRAMES if is_binary else FLOAT_INPUTS)) or feeds.made_up()
    signs = rewrite_signs(prepared, given) if is_binary else None
    if signs is None:
        frames, probes = steady(prepared, task_outputs, given), list(feeds.random(2))
    else:
        frames = firmest(signs.model, signs.tensors, given, FLOAT_INPUTS)
        signs = dataclasses.replace(signs, rounding=depends_on_rounding(prepared, signs.model, task_outputs, frames))
        prepared = signs.model
        probes = firmest(prepared, signs.tensors, list(feeds.random(SIGN_FRAMES)), 2)

    def compared(converted: Model) -> tuple[FloatModel, dict[str, float]]:
        floating = _located(converted, prepared, cuts, task_outputs, probes, frames, report)
        report("comparing the float model with the ONNX model")
        return floating, float_error(floating, prepared, task_outputs, frames)

    converted = converter.to_tflite(prepared, work_dir, report, checkpoints)
    ways: tuple[Callable[[], Model | None], ...] = (
        lambda: converted,
        lambda: converter.to_tflite(prepared, work_dir, report, checkpoints, is_plain=True),
        lambda: _one_by_one(prepared, task_outputs, work_dir, (probes, frames), converter, report, checkpoints),
    )
    errors = []
    for way in ways:
        try:
            if (found := way()) is not None:
                return *compared(found), len(frames), signs
        except ConversionError as error:
            errors.append(error)
    raise errors[0]


def _one_by_one(
    prepared: onnx.ModelProto,
    task_outputs: Sequence[str],
    work_dir: Path,
    tried: tuple[Sequence[Arrays], Sequence[Arrays]],
    converter: Converter,
    report: Report,
    checkpoints: Checkpoints | None,
) -> Model | None:
    """The networks of a graph that share nothing, each converted as comes out right; None where there is but one.

    What onnx2tf optimises makes some networks wrong, and what it leaves others, so that no way may do for all.
    """
    parts = independent_parts(prepared)
    if len(parts) < 2:
        return None
    report("converting networks that share nothing one by one: together one of them comes out wrong")
    made = []
    for number, part in enumerate(parts):
        folder = work_dir / f"part{number}"
        folder.mkdir(exist_ok=True)
        names, answers = {i.name for i in part.graph.input}, [o.name for o in part.graph.output]
        probes, frames = ([{n: v for n, v in one.items() if n in names} for one in some] for some in tried)
        own = [name for name in answers if name in task_outputs]
        cuts = [name for name in answers if name not in own]
        try:
            made.append(converter.to_tflite(part, folder, report, checkpoints))
            float_error(_located(made[-1], part, cuts, own, probes, frames, report), part, own, frames)
        except ConversionError:
            del made[number:]
            made.append(converter.to_tflite(part, folder, report, checkpoints, is_plain=True))
    return _side_by_side(made)


def _side_by_side(models: Sequence[Model]) -> Model | None:
    """One graph of those of several models; None where one has subgraphs, or no names for its inputs."""
    if any(len(model.subgraphs) != 1 or not model.signatures for model in models):
        return None
    graphs: list[Graph] = []
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    for number, model in enumerate(models):
        names = {name: f"part{number}/{name}" for name in model.main.tensors}
        graphs.append(rename(model.main, names))
        inputs |= {argument: names[tensor] for argument, tensor in model.signatures[0].inputs.items()}
        outputs |= {argument: names[tensor] for argument, tensor in model.signatures[0].outputs.items()}
    whole = Graph.of(
        graphs[0].name,
        [name for graph in graphs for name in graph.inputs],
        [name for graph in graphs for name in graph.outputs],
        [op for graph in graphs for op in graph.ops],
        [tensor for graph in graphs for tensor in graph.tensors.values()],
    )
    return Model((whole,), (Signature(models[0].signatures[0].name, inputs, outputs),))


def _located(
    converted: Model,
    prepared: onnx.ModelProto,
    cuts: Sequence[str],
    task_outputs: Sequence[str],
    probes: Sequence[Arrays],
    frames: Sequence[Arrays],
    report: Report,
) -> FloatModel:
    report("finding the cuts in the converted model and cleaning it up")
    try:
        located = locate(converted, prepared, cuts, task_outputs, probes)
    except ConversionError as error:
        # Random pixels may drive a sound network to where it hardly moves, or to where it amplifies rounding.
        probes = [frames[0], frames[-1]]
        located = _located_on_frames(converted, prepared, cuts, task_outputs, probes, error)
    return name_as_in_onnx(located, prepared, probes[0])


def _located_on_frames(
    converted: Model,
    prepared: onnx.ModelProto,
    cuts: Sequence[str],
    task_outputs: Sequence[str],
    probes: Sequence[Arrays],
    refusal: ConversionError,
) -> FloatModel:
    """As :func:`locate`; where that fails again, ``refusal`` with the first tensor that differs."""
    try:
        return locate(converted, prepared, cuts, task_outputs, probes)
    except ConversionError:
        graph, layouts = inputs_as_in_onnx(converted, prepared)
        first = first_difference(graph, layouts, prepared, probes)
        if first is None:
            raise refusal from None
        raise ConversionError(
            f"what onnx2tf made of the network differs from it: {first}",
            "replace this operator, which converts wrongly",
        ) from refusal
