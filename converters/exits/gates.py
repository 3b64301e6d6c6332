"""Gates: a head like that of an exit, whose logits are compared with those of the last frame that was answered in full.

A frame that is near is not run to the end; the last answer stands. Whether that is right hangs on which frame was the
last one, and that on the threshold, so frames are gone through in their order for each threshold.

The smallest distance is not the surest one, as it is with exits: a frame between two classes flickers whatever one
compares it with. So the frames of the fit say in which order thresholds are tested, the likeliest to pass first.
Whichever of the accepted ones is taken, the promise holds: all of them keep it together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.agreement.binomial import tail
from multigraft.bundle.bundle import Bundle
from multigraft.converters.exits.heads import Head, Rows, fit_head
from multigraft.converters.exits.inserting import Inserted
from multigraft.converters.exits.places import Place
from multigraft.converters.exits.planning import LEAST_GAIN, Candidate, Plan, Planned
from multigraft.converters.job.progress import Report
from multigraft.converters.network.frames import Frames
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.exits.blocks import Blocks, Bools, block_length, in_blocks
from multigraft.exits.change import comparable, most_squared
from multigraft.exits.policy import Exit, Promise
from multigraft.exits.thresholds import STEPS, Asked, Threshold, accepted, expected_risk
from multigraft.runtime.answers import Classification, make_decoder
from multigraft.tensors.arrays import Array, Float64Array

Classes = npt.NDArray[np.int64]
_BY_CHANCE = 0.05
"""Probability from which on it could have let as many changes through without looking."""


@dataclass(frozen=True)
class Repeats:
    """What gates of several thresholds do with frames in their order.

    Attributes:
        taken: (thresholds, frames) whether the last answer is repeated.
        agrees: Likewise, whether that is what the whole network answers.
    """

    taken: Bools
    agrees: Bools

    def counts(self, sureness: Sequence[float]) -> list[Threshold]:
        """Frames that are repeated, and those of them that disagree, of each threshold."""
        wrong = (self.taken & ~self.agrees).sum(axis=1)
        rows = zip(sureness, self.taken.sum(axis=1), wrong, strict=True)
        return [Threshold(float(sure), int(taken), int(disagreed)) for sure, taken, disagreed in rows]

    def chances(self, blocks: Blocks, asked: Asked) -> list[float]:
        """Of each threshold, how likely so few wrong answers are although it breaks the promise."""
        wrong = self.taken & ~self.agrees
        trials = self.taken if asked.kind == "selective" else np.ones_like(self.taken)
        return [blocks.chance(of, row) for of, row in zip(trials, wrong, strict=True)]


def repeats(logits: Array, classes: Classes, most: Float64Array) -> Repeats:
    """Go through frames in their order.

    Args:
        logits: (frames, classes) of the head, int32 or float64; frames at least 1.
        classes: (frames,) what the whole network answers.
        most: (thresholds,) the largest squared distance that is near.
    """
    count = len(logits)
    last, answers = np.repeat(logits[:1], len(most), axis=0), np.full(len(most), classes[0])
    taken, agrees = np.zeros((len(most), count), bool), np.ones((len(most), count), bool)
    for number in range(1, count):
        change = last - logits[number]
        near = np.einsum("ij,ij->i", change, change) <= most
        taken[:, number], agrees[:, number] = near, answers == classes[number]
        last[~near], answers[~near] = logits[number], classes[number]
    return Repeats(taken, agrees)


def plan_gate(
    candidates: Sequence[Candidate],
    logits: Rows,
    task_macs: int,
    asked: Asked,
    frames: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """The gate that saves most, if one is expected to save anything.

    Args:
        candidates: In running order; their frames in the order in which a camera gave them.
        logits: (frames of the fit, classes) of the whole network.
        task_macs: Of the task.
        asked: The promise.
        frames: How many frames will test thresholds.
        tell: Told how many candidates of how many are judged.
    """
    best = Plan((), LEAST_GAIN)
    for number, candidate in enumerate(candidates, 1):
        head = fit_head(candidate.features, logits, candidate.grid)
        planned = _planned(candidate.place, head, logits, asked, frames)
        saved = (planned.expected_rate * (task_macs - candidate.place.macs) - head.macs) / task_macs
        if saved > best.saved:
            best = Plan((planned,), saved)
        tell(number, len(candidates))
    return best if best.exits else Plan((), 0.0)


def refitted_gate(planned: Planned, features: Rows, asked: Asked, frames: int) -> Planned:
    """A gate with a head for other features of the same place, see :func:`planning.refitted`."""
    head = fit_head(features, planned.logits, planned.head.grid)
    return _planned(planned.place, head, planned.logits, asked, frames)


def _planned(place: Place, head: Head, logits: Rows, asked: Asked, frames: int) -> Planned:
    tests, block, rate = tests_of(head.predicted, logits.argmax(axis=1), asked, frames)
    reach = np.ones(len(head.predicted), bool)
    return Planned(place, head, "change", 1.0, -tests, rate, reach, logits, block)


def tests_of(logits: Float64Array, classes: Classes, asked: Asked, frames: int) -> tuple[Float64Array, int, float]:
    """Which distances are tested, in that order, on blocks of how many frames, and how much is expected to be repeated.

    Args:
        logits: (frames of the fit, classes) of the head, in the order of the camera.
        classes: (frames of the fit,) what the whole network answers.
        asked: The promise.
        frames: How many will test.
    """
    steps = np.sort(np.linalg.norm(np.diff(logits, axis=0), axis=1))
    places = np.linspace(0, len(steps) - 1, STEPS).astype(int)
    # Between two values that occur, as for exits.
    distances = np.unique((steps[places] + steps[np.minimum(places + 1, len(steps) - 1)]) / 2)
    seen = len(logits)
    passed = repeats(logits, classes, distances * distances)
    counts, block = passed.counts((-distances).tolist()), block_length(passed.taken & ~passed.agrees)
    independent = max(1, frames // block)
    risks = [expected_risk(one.taken / seen, one.disagreed / seen, asked, seen, independent) for one in counts]
    order = sorted(range(len(counts)), key=lambda k: (risks[k], -counts[k].taken))
    rate = max((counts[k].taken / seen for k in order if risks[k] <= 1 - asked.confidence), default=0.0)
    return distances[order], block, rate


def calibrate_gate(
    bundle: Bundle, one: Inserted, frames: Frames, asked: Asked, audited: float, report: Report
) -> Exit | None:
    """The gate with a threshold that keeps a promise; None if none could be shown to, which is told.

    Args:
        bundle: With the gate's segment.
        one: The gate.
        frames: Unlabeled, in their order, which neither its head nor its place was chosen by.
        asked: The promise.
        audited: Share of the repeated answers to audit.
        report: Takes a line now and then.
    """
    logits, whole = _observed(bundle, one, frames)
    spec, count, block = bundle.manifest.tensor(one.output), len(frames), one.planned.block
    least = one.planned.surenesses.tolist()
    passed = repeats(logits, whole, np.array([most_squared(-sure, spec) for sure in least]))
    risks = [1 - asked.confidence, *[0.0] * (len(least) - 1)]
    chances = None if block == 1 else passed.chances(Blocks(block, asked.max_disagreement), asked)
    kept = accepted(passed.counts(least), asked, risks, count, chances)
    found = max(kept, key=lambda one: one.taken, default=None)
    what = f"{one.segment} of {one.task}"
    if found is None or not found.taken:
        most = f"{100 * asked.max_disagreement:g} %"
        report(
            f"warning: no threshold of {what} is shown to repeat at most {most} wrong answers at "
            f"{100 * asked.confidence:g} % with {count:,} frames {in_blocks(block)}: it is left out; give more frames, "
            "in the order of the camera, or allow more"
        )
        return None
    taken = passed.taken[least.index(found.sureness)]
    changes = np.flatnonzero(np.diff(whole)) + 1
    through = int((~taken[changes]).sum())
    told = f"of {len(changes):,} frames on which the whole network changes its answer, {what} lets {through:,} through"
    if not through:
        report(f"warning: {told}: it is left out, as one that never looks would do as well; give frames with changes")
        return None
    if tail(through, len(changes), 1 - float(taken.mean())) > _BY_CHANCE:
        report(f"warning: {told}, as it might by chance; give frames with more changes")
    else:
        report(f"note: {told} at once")
    promise = Promise(
        asked.kind, asked.max_disagreement, asked.confidence, count, count, found.taken, found.disagreed, block,
    )  # fmt: skip
    return Exit(one.segment, one.output, "change", 1.0, -found.sureness, promise, audited)


def _observed(bundle: Bundle, one: Inserted, frames: Frames) -> tuple[Array, Classes]:
    """(frames, classes) logits of the head, as they are compared, and (frames,) classes of the whole network."""
    runner, manifest = BundleRunner(bundle), bundle.manifest
    task = manifest.task(one.task)
    (name,) = task.outputs
    spec, answer = manifest.tensor(one.output), manifest.tensor(name)
    array = np.zeros(answer.shape, answer.dtype)
    decode = make_decoder(task, [answer], [array])
    segments = [s.name for s in manifest.segments if s.name in (*task.segments, one.segment)]
    logits, classes = [], np.empty(len(frames), np.int64)
    for number, frame in enumerate(frames):
        values = runner.values(segments, frame)
        np.copyto(array, values[name])
        said = decode()
        assert isinstance(said, Classification)
        classes[number] = said.index
        logits.append(comparable(values[one.output], spec))
    return np.stack(logits), classes
