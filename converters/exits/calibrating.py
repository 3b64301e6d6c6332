"""Thresholds of the exits of a finished bundle, from what its own segments answer on frames that no fit has seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.converters.exits.constant_answer import Classes, constant_answer
from multigraft.converters.exits.inserting import Inserted
from multigraft.converters.job.progress import Report
from multigraft.converters.network.frames import Frames
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.exits.blocks import Bools, least_blocks
from multigraft.exits.policy import Exit, Promise
from multigraft.exits.sureness import as_threshold, make_sureness
from multigraft.exits.thresholds import Asked, choose_threshold, sequence_of
from multigraft.runtime.answers import Classification, make_decoder
from multigraft.tensors.arrays import Float64Array

TOLD_EVERY = 500


def calibrate(
    bundle: Bundle, inserted: Sequence[Inserted], frames: Frames, asked: Asked, audited: float, report: Report
) -> tuple[list[Exit], list[Inserted]]:
    """The exits of one task with thresholds that keep a promise, and those for which none could be shown to.

    Every exit has a part of the frames of its own: which of them reach a later exit depends on the threshold of an
    earlier one.

    Args:
        bundle: With the segments of the exits.
        inserted: The exits of one task in running order.
        frames: Unlabeled, of the task, which neither heads nor places were chosen by.
        asked: The promise of all exits together.
        audited: Share of the exits to audit.
        report: Takes a line now and then.
    """
    sure, early, whole = _observed(bundle, inserted, frames, report)
    agrees = [said == whole for said in early]
    labels = bundle.manifest.task(inserted[0].task).labels
    share = asked.split(len(inserted))
    exits: list[Exit] = []
    refused: list[Inserted] = []
    left = np.zeros(len(frames), bool)
    for number, one in enumerate(inserted):
        mine = np.zeros(len(frames), bool)
        mine[number :: len(inserted)] = True
        reach = mine & ~left
        planned = one.planned
        # Of a marginal promise all frames count, and how many of them reach it says something of how many are wrong.
        counted = int((reach if share.kind == "selective" else mine).sum())
        sequence = sequence_of(planned.surenesses, share, counted, planned.block)
        found = choose_threshold(
            sure[number][reach], agrees[number][reach], share, sequence, int(mine.sum()), planned.block
        )
        if found is None:
            report(f"warning: {_refusal(one, share, counted, sure[number][reach], agrees[number][reach])}")
            refused.append(one)
            continue
        taken = sure[number] >= found.sureness
        constant = constant_answer(early[number][reach], whole[reach], taken[reach])
        if constant is not None:
            report(f"warning: {constant.in_words(one, share, labels)}")
            if constant.is_blind:
                refused.append(one)
                continue
        left |= taken
        promise = Promise(
            share.kind, share.max_disagreement, share.confidence, int(mine.sum()), int(reach.sum()), found.taken,
            found.disagreed, planned.block,
        )  # fmt: skip
        threshold = as_threshold(found.sureness, planned.rule)
        exits.append(Exit(one.segment, one.output, planned.rule, planned.temperature, threshold, promise, audited))
    return exits, refused


def _observed(
    bundle: Bundle, inserted: Sequence[Inserted], frames: Frames, report: Report
) -> tuple[list[Float64Array], list[Classes], Classes]:
    """Of every exit (frames,) how sure it is, and its class; and the class of the whole network."""
    runner, manifest = BundleRunner(bundle), bundle.manifest
    task = manifest.task(inserted[0].task)
    names = [*task.outputs, *(one.output for one in inserted)]
    specs = {name: manifest.tensor(name) for name in names}
    arrays = {name: np.zeros(spec.shape, spec.dtype) for name, spec in specs.items()}
    whole = make_decoder(task, [specs[n] for n in task.outputs], [arrays[n] for n in task.outputs])
    decoders = [make_decoder(task, [specs[one.output]], [arrays[one.output]]) for one in inserted]
    sureness = [
        make_sureness(specs[o.output], arrays[o.output], o.planned.rule, o.planned.temperature) for o in inserted
    ]
    segments = [s.name for s in manifest.segments if s.name in task.segments or s.name in {o.segment for o in inserted}]
    sure = [np.empty(len(frames)) for _ in inserted]
    early = [np.empty(len(frames), np.int64) for _ in inserted]
    classes = np.empty(len(frames), np.int64)
    for number, frame in enumerate(frames):
        values = runner.values(segments, frame)
        for name, array in arrays.items():
            np.copyto(array, values[name])
        right = whole()
        assert isinstance(right, Classification)
        classes[number] = right.index
        for k, (decode, how_sure) in enumerate(zip(decoders, sureness, strict=True)):
            said = decode()
            assert isinstance(said, Classification)
            sure[k][number], early[k][number] = how_sure(), said.index
        if (number + 1) % TOLD_EVERY == 0:
            report(f"exits of {task.name}: tested on {number + 1:,} of {len(frames):,} frames")
    return sure, early, classes


def _refusal(one: Inserted, asked: Asked, counted: int, surenesses: Float64Array, agrees: Bools) -> str:
    """Why no threshold was found: too few frames or none, or a head that answers otherwise once it is rounded.

    Args:
        one: The exit.
        asked: What was.
        counted: Frames that count for the promise.
        surenesses: (n,) of the frames that reached it.
        agrees: (n,) whether it answers them as the whole network does.
    """
    if not len(agrees):
        return f"no frame reaches {one.segment} of {one.task}, the exits before it take all: it is left out"
    rate = one.planned.expected_rate
    block = one.planned.block
    least = least_blocks(asked.max_disagreement, 1 - asked.confidence) if block > 1 else asked.least_frames
    needed = least * block
    if asked.kind == "selective" and rate:
        needed = round(needed / rate)
    most = f"{100 * asked.max_disagreement:g} %"
    what = f"no threshold of {one.segment} is shown to disagree on at most {most} of {one.task}"
    said = f"{what} at {100 * asked.confidence:g} % with {counted:,} frames"
    if counted < needed:
        return f"{said}, {needed:,} are the least: it is left out; give more frames, or allow more"
    surest = np.argsort(-surenesses, kind="stable")[: max(1, round(rate * len(agrees)))]
    wrong = 1 - float(agrees[surest].mean())
    return (
        f"{said}: of the surest {len(surest):,}, which its plan lets exit, it answers {100 * wrong:.1f} % otherwise "
        "once quantised: it is left out; allow more, or name another layer by exits.at"
    )


def with_policies(bundle: Bundle, exits: dict[str, list[Exit]]) -> Bundle:
    """The bundle whose tasks have these exits."""
    tasks = (dataclasses.replace(t, exits=tuple(exits.get(t.name, ()))) for t in bundle.manifest.tasks)
    return bundle.with_tasks(tasks)
