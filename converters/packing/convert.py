"""From a multi-task ONNX graph to a bundle: float .tflite, quantised, cut into segments, verified, packed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from multigraft.converters.binary.network import in_words, layers_to_keep, with_binary_layers
from multigraft.converters.conversion.boundary_tensors import FloatModel, to_tflite_layout
from multigraft.converters.conversion.converter import find_converter
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.packing.feeds import Feeds
from multigraft.converters.packing.finishing import (
    CALIBRATION_FRAMES,
    VERIFIED_RANDOM_INPUTS,
    Conversion,
    Finishing,
    Prepared,
)
from multigraft.converters.packing.quantised_agreement import QuantisedAgreement
from multigraft.converters.packing.to_float import to_float
from multigraft.converters.parting.cell_means import with_cell_means
from multigraft.converters.parting.part import PARTING_FRAMES, Parting, part_outputs, with_parts
from multigraft.converters.quantising.arithmetic_tail import decoding_tail
from multigraft.converters.quantising.improve import Quantised, Quantising, quantise_well
from multigraft.converters.quantising.keep_float import operators_to_keep
from multigraft.converters.quantising.precisions import AROUND_BINARY, STATIC, Precision
from multigraft.converters.quantising.quantise import quantise
from multigraft.converters.quantising.ranges import MissingRangesError, Range
from multigraft.converters.quantising.rescue import Judge, rescue
from multigraft.converters.quantising.safeguards import Safeguards
from multigraft.errors import ConversionError, UsageError
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tflite.graph import Graph

AGREEMENT_FRAMES = 256
RESCUE_FRAMES = 32
"""How many frames, evenly spaced over those given, each step looks at."""


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
    task_outputs = multitask.ends
    converter = find_converter(report)
    prepared = before.prepared if before else None
    if prepared is None:
        floating, errors, count, signs = to_float(
            multitask, task_outputs, feeds, converter, work_dir, report, checkpoints, asked in AROUND_BINARY
        )
        early = [floating.boundaries[name] for name in multitask.early]
        floating = dataclasses.replace(floating, graph=with_cell_means(floating.graph, early))
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
    finishing = Finishing(
        multitask=with_parts(multitask, floating.joined),
        feeds=feeds,
        precision=asked,
        name=name,
        converter=converter.version,
        safeguards=safeguards,
        verified_inputs=verified_inputs,
        prepared=prepared,
        quantised=quantised,
        rescued=rescued,
        agreements=agreements,
        report=report,
    )
    if prepared.signs is None:
        return finishing(quantised.graph)
    graph = with_binary_layers(quantised.graph, floating.boundaries.values())
    told = tuple(in_words(graph, floating.graph, prepared.signs))
    for sentence in told:
        report(sentence)
    return dataclasses.replace(finishing(graph), binary=told)


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
