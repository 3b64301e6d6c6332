"""From a multi-task ONNX graph to a bundle: float .tflite, quantised, cut into segments, verified, packed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from multigraft.agreement.agreement import Agreement
from multigraft.bundle.bundle import Bundle
from multigraft.converters.binary.network import in_words, layers_to_keep, with_binary_layers
from multigraft.converters.binary.signs import Signs
from multigraft.converters.conversion.boundary_tensors import FloatModel, to_tflite_layout
from multigraft.converters.conversion.converter import find_converter
from multigraft.converters.conversion.interpreters import main_signature
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.packing.bundling import BundleParts, pack
from multigraft.converters.packing.feeds import Feeds
from multigraft.converters.packing.quantised_agreement import QuantisedAgreement
from multigraft.converters.packing.segments import cut_into_segments
from multigraft.converters.packing.to_float import to_float
from multigraft.converters.packing.verify import Verification, affordable, random_inputs, verify_segments
from multigraft.converters.parting.part import PARTING_FRAMES, Parting, part_outputs, with_parts
from multigraft.converters.quantising.arithmetic_tail import decoding_tail
from multigraft.converters.quantising.improve import Quantised, Quantising, quantise_well
from multigraft.converters.quantising.keep_float import operators_to_keep
from multigraft.converters.quantising.layer_error import LayerErrorReport, layer_error, stored
from multigraft.converters.quantising.precisions import AROUND_BINARY, STATIC, Precision
from multigraft.converters.quantising.quantise import quantise
from multigraft.converters.quantising.ranges import MissingRangesError, Range
from multigraft.converters.quantising.rescue import Judge, rescue
from multigraft.converters.quantising.safeguards import Safeguards, Safety
from multigraft.converters.quantising.silu_ranges import read_by_silus
from multigraft.errors import ConversionError, UsageError
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model

CALIBRATION_FRAMES = 512
AGREEMENT_FRAMES = 256
LAYER_ERROR_FRAMES = 8
RESCUE_FRAMES = 32
VERIFIED_RANDOM_INPUTS = 200
VERIFIED_FRAMES = 16
"""How many frames, evenly spaced over those given, each step looks at."""


@dataclass(frozen=True)
class Prepared:
    """What does not change when layers get more bits.

    Attributes:
        floating: The float model, as converted.
        float_errors: Its error against ONNX by task output.
        float_inputs: Over how many frames.
        kept: Operators to leave in float, by a tensor they write.
        quantised: The same quantised, with whatever helps.
        parted: Which outputs were parted and why, for people.
        signs: What was found of binary layers in the ONNX model; None unless they are asked for.
    """

    floating: FloatModel
    float_errors: dict[str, float]
    float_inputs: int
    kept: frozenset[str]
    quantised: Quantised
    parted: tuple[str, ...] = ()
    signs: Signs | None = None


@dataclass(frozen=True)
class Conversion:
    """A bundle and what was learnt while making it.

    Attributes:
        bundle: Ready to write.
        uncut_model: The whole quantised model as one subgraph, for comparison (.tflite).
        float_model: The same in float32 (.tflite).
        layer_error: Quantisation error per operator; empty for float32 or without frames.
        verification: What was compared and the figures.
        agreement: Task to how often the quantised answers as the float model; empty without frames.
        safety: What was done for precision beyond rounding, and which layers are noisy.
        binary: What became of binary layers, for people.
        prepared: Spares a second conversion with other safeguards much of its work; None where nothing was converted.
    """

    bundle: Bundle
    uncut_model: bytes
    float_model: bytes
    layer_error: LayerErrorReport
    verification: Verification
    agreement: Mapping[str, Agreement]
    safety: Safety
    binary: tuple[str, ...] = ()
    prepared: Prepared | None = None

    def sentences(self) -> list[str]:
        """What was done and found beyond rounding, for people; empty if there is nothing to say."""
        return [*(self.prepared.parted if self.prepared else ()), *self.binary, *self.safety.sentences()]


def convert(
    multitask: MultiTaskModel,
    frames_by_input: Mapping[str, Frames],
    *,
    precision: Precision = "int8",
    keep_float: Sequence[str] = (),
    ranges: Mapping[str, Range] | None = None,
    name: str,
    work_dir: Path,
    report: Report = silent,
    checkpoints: Checkpoints | None = None,
    verified_inputs: int = VERIFIED_RANDOM_INPUTS,
    safeguards: Safeguards = Safeguards(),  # noqa: B008 (frozen)
    before: Conversion | None = None,
) -> Conversion:
    """Convert, quantise, cut, verify and pack.

    Args:
        multitask: From grafting.
        frames_by_input: Unlabeled camera frames for each graph input; they set the ranges of activations. May be empty
            where ``ranges`` say it all or ``precision`` needs none.
        precision: A key of :data:`multigraft.converters.quantising.precisions.PRECISIONS`.
        keep_float: Layers to leave in float32: regular expressions on ONNX node and tensor names, or operator kinds.
        ranges: Smallest and largest value by ONNX tensor, in place of measuring; others are measured on the frames.
        name: The bundle's name.
        work_dir: An existing folder for intermediate files and logs.
        report: Takes a line for each step.
        checkpoints: Where the converted float model is kept, or None.
        verified_inputs: Random inputs on which segments and uncut model are compared; fewer for a large model.
        safeguards: Which layers count as noisy, and the rise of agreement that layers are kept in float for.
        before: A conversion of the same with other safeguards.

    Raises:
        ConversionError: A tool failed or the result is not equal to what it was made of.
        UsageError: Frames are given for an input that does not exist, or a layer to keep is not there.
        InputError: A frame does not fit.
    """
    feeds = Feeds(multitask.inputs, frames_by_input)
    asked, precision = precision, AROUND_BINARY.get(precision, precision)
    if precision in STATIC and not feeds.chosen(1) and not ranges:
        if ranges is not None:
            raise MissingRangesError(f"{precision} needs frames or ranges", "give frames")
        raise UsageError(f"{precision} needs frames or ranges", "give unlabeled frames with --source")
    task_outputs = [o for task in multitask.tasks for o in task.outputs]
    converter = find_converter(report)
    prepared = before.prepared if before else None
    if prepared is None:
        floating, errors, count, signs = to_float(
            multitask, task_outputs, feeds, converter, work_dir, report, checkpoints, asked in AROUND_BINARY
        )
        parting = Parting(floating)
        if precision in STATIC:
            some = [to_tflite_layout(f, floating.layouts) for f in feeds.spaced(PARTING_FRAMES)]
            parting = part_outputs(multitask, floating, some, ranges or {})
        floating, known = parting.floating, {**(ranges or {}), **parting.known}
        for sentence in parting.sentences:
            report(sentence)
        report(f"quantising to {precision}" if precision != "float32" else "keeping float32")
        kept = frozenset(operators_to_keep(floating.graph, multitask.model, keep_float))
        if signs is not None:
            kept |= layers_to_keep(floating.graph)
        quantised = _quantised(multitask, floating, feeds, precision, kept, known)
        floating = dataclasses.replace(floating, graph=quantised.floating)
        prepared = Prepared(floating, errors, count, kept, quantised, parting.sentences, signs)
    floating, quantised = prepared.floating, prepared.quantised
    agreements = QuantisedAgreement(multitask, floating, lambda: feeds.spaced(AGREEMENT_FRAMES), safeguards.tolerances)
    rescued = None
    if precision in STATIC and safeguards.lacking:
        report("keeping the noisiest layers in float")
        some = [to_tflite_layout(f, floating.layouts) for f in feeds.spaced(RESCUE_FRAMES)]
        judge = _judge(multitask, floating, frames_by_input, safeguards)
        measured_before = before.layer_error if before else None
        tail = _decoding_tail(multitask, floating, safeguards.lacking)
        quantised, rescued = rescue(
            quantised, prepared.kept, judge, safeguards.lacking, some, measured_before, tail, safeguards.measured
        )
    graph, told = quantised.graph, tuple[str, ...]()
    if prepared.signs is not None:
        graph = with_binary_layers(graph, floating.boundaries.values())
        told = tuple(in_words(graph, floating.graph, prepared.signs))
    for sentence in told:
        report(sentence)
    multitask = with_parts(multitask, floating.joined)
    task_outputs = [o for task in multitask.tasks for o in task.outputs]
    model, segments = cut_into_segments(graph, multitask.segments, floating.boundaries)
    content = tflite_file.write(model)
    samples = [stored(to_tflite_layout(f, floating.layouts), graph) for f in feeds.spaced(VERIFIED_FRAMES)]
    inputs = affordable(graph, [*samples, *random_inputs(graph, verified_inputs)])
    report(f"comparing segments and uncut model on {len(inputs)} inputs")
    verification = verify_segments(graph, content, segments, floating.boundaries, task_outputs, inputs)
    verification = dataclasses.replace(
        verification, float_error=prepared.float_errors, float_inputs=prepared.float_inputs
    )
    layers = LayerErrorReport((), 0)
    if precision != "float32":
        report("measuring the error of each layer")
        sampled = [to_tflite_layout(f, floating.layouts) for f in feeds.spaced(LAYER_ERROR_FRAMES)]
        layers = layer_error(floating.graph, quantised.graph, sampled)
        if rescued is not None and rescued.has_whole_ranges:
            # What a SiLU makes nothing of is cut off there, which is no noise.
            layers = layers.without(read_by_silus(floating.graph))
    safety = Safety(quantised.improvement, rescued, layers.below(safeguards.min_layer_sqnr_db), safeguards)
    for sentence in safety.sentences():
        report(sentence)
    report("measuring how often the quantised model answers as the float model")
    measured = agreements(graph)
    parts = BundleParts(
        name=name,
        precision=asked,
        multitask=multitask,
        graph=graph,
        model=model,
        content=content,
        segments=tuple(segments),
        boundaries=floating.boundaries,
        layouts=floating.layouts,
        golden=(*samples[:2], *random_inputs(graph, 2, seed=1), *samples[2 : len(samples) // 2 + 1]),
        layers=layers,
        verification=verification,
        agreements=measured,
        calibration_frames=len(feeds.chosen(CALIBRATION_FRAMES)),
        converter=converter.version,
        safety=safety.to_json(),
    )
    outputs = {n: floating.boundaries[n] for n in task_outputs}
    return Conversion(
        bundle=pack(parts),
        uncut_model=_whole(graph, outputs),
        float_model=_whole(floating.graph, outputs),
        layer_error=layers,
        verification=verification,
        agreement=measured,
        safety=safety,
        binary=told,
        prepared=prepared,
    )


def pixel_range(preprocessing: Preprocessing) -> Range:
    """What pixels of 0 to 255 become: with it, a grey or evenly normalised image is stored in int8 without loss."""
    ends = [(p - m) * s for p in (0, 255) for m, s in zip(preprocessing.mean, preprocessing.scale, strict=True)]
    return min(ends), max(ends)


def _quantised(
    multitask: MultiTaskModel,
    floating: FloatModel,
    feeds: Feeds,
    precision: Precision,
    kept: Collection[str],
    ranges: Mapping[str, Range],
) -> Quantised:
    if precision in STATIC:
        pictures = {n: p for n, p in multitask.inputs.items() if isinstance(p, Preprocessing)}
        known = dict(ranges) | {n: pixel_range(p) for n, p in pictures.items()}
        how = Quantising(
            precision,
            lambda count: (to_tflite_layout(f, floating.layouts) for f in feeds.spaced(count)),
            known,
            kept,
            CALIBRATION_FRAMES,
        )
        quantised = quantise_well(floating.graph, how, floating.boundaries.values())
    else:
        again = functools.partial(quantise, floating.graph, precision, None)
        quantised = Quantised(floating.graph, again(kept), again)
    lost = [n for n, tensor in floating.boundaries.items() if tensor not in quantised.graph.tensors]
    if lost:
        raise ConversionError(f"quantisation lost the boundary {lost[0]!r}", "cut at another tensor")
    return quantised


def _judge(
    multitask: MultiTaskModel, floating: FloatModel, frames: Mapping[str, Frames], safeguards: Safeguards
) -> Judge:
    """Measures every task that lacks agreement on its own frames; tasks of the same frames together."""
    judges: list[tuple[Mapping[str, Frames], list[str], QuantisedAgreement]] = []
    for task in safeguards.lacking:
        chosen = {**frames, **safeguards.frames.get(task, {})}
        for other, tasks, _ in judges:
            if all(_are_same(chosen[n], other[n]) for n in chosen):
                tasks.append(task)
                break
        else:
            judges.append((chosen, [task], _agreement_on(multitask, floating, chosen, safeguards.tolerances)))

    def judge(graph: Graph) -> dict[str, float]:
        return {t: value for _, tasks, one in judges for t, value in one.values(graph).items() if t in tasks}

    return judge


def _decoding_tail(multitask: MultiTaskModel, floating: FloatModel, lacking: Collection[str]) -> tuple[str, ...]:
    """What the last layers and the arithmetic behind them write, of tasks of ``lacking`` whose answers are decoded."""
    decoded = {task.name for task in multitask.tasks if task.answer is not None} | set(multitask.own)
    names = [o for task in multitask.tasks if task.name in decoded and task.name in lacking for o in task.outputs]
    parts = [p for o in names for p in (floating.joined[o].parts if o in floating.joined else (o,))]
    cuts = {floating.boundaries.get(name, name) for segment in multitask.segments for name in segment.inputs}
    return decoding_tail(floating.graph, cuts, [floating.boundaries[p] for p in parts])


def _are_same(one: Frames, other: Frames) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _agreement_on(
    multitask: MultiTaskModel,
    floating: FloatModel,
    frames: Mapping[str, Frames],
    tolerances: Mapping[str, float | None],
) -> QuantisedAgreement:
    feeds = Feeds(multitask.inputs, frames)
    return QuantisedAgreement(multitask, floating, lambda: feeds.spaced(AGREEMENT_FRAMES), tolerances)


def _whole(graph: Graph, outputs: Mapping[str, str]) -> bytes:
    return tflite_file.write(Model((graph,), (dataclasses.replace(main_signature(graph), outputs=outputs),)))
