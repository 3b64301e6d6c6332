"""Gates for frames that are far from all the trunk has seen: a whitening map, and the distance that few frames exceed.

Where such a gate is worth most cannot be told without frames that are far, and there are none. So some are made up of
the frames of the fit: negatives, shuffled pieces, noise. They choose the place and nothing else: what is promised is
about the frames that are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.converters.exits.heads import Head, Rows
from multigraft.converters.exits.inserting import Inserted
from multigraft.converters.exits.places import Place
from multigraft.converters.exits.planning import LEAST_GAIN, Candidate, Plan, Planned
from multigraft.converters.job.progress import Report
from multigraft.converters.network.frames import Frame, Frames
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.exits.blocks import Blocks, block_length, in_blocks
from multigraft.exits.change import most_squared
from multigraft.exits.far import squared
from multigraft.exits.policy import Exit, Promise
from multigraft.exits.thresholds import STEPS, Asked, Threshold, accepted
from multigraft.runtime.offload.cuts import segments_before
from multigraft.tensors.arrays import Float64Array

MOST_FEATURES = 128
"""A whitening map has their square of weights."""
MADE_UP = 100
"""Frames of the fit of which others are made, at most."""
LEAST_VARIANCE = 1e-3
"""Of the largest: int8 weights do not tell apart what lies further below it."""
PIECES = 4
"""Pieces along each side of a picture that are shuffled."""


def made_up(frames: Frames) -> list[Frame]:
    """Frames unlike those given: their negatives, shuffled pieces of them, and noise within their range."""
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, min(MADE_UP, len(frames))).astype(int)]
    low, high = min(f.min() for f in chosen), max(f.max() for f in chosen)
    random = np.random.default_rng(0)
    found: list[Frame] = []
    for frame in chosen:
        noise = random.uniform(float(low), float(high), frame.shape)
        negative = float(low) + float(high) - frame.astype(np.float64)
        shuffled = frame
        for axis in range(min(frame.ndim, 2)):
            pieces = np.array_split(shuffled, PIECES, axis)
            shuffled = np.concatenate([pieces[i] for i in random.permutation(len(pieces))], axis)
        found += [negative.astype(frame.dtype), shuffled, noise.astype(frame.dtype)]
    return found


def whitening(features: Rows, grid: int) -> Head:
    """The map after which features have mean 0, variance 1 and no correlation.

    Args:
        features: (frames, features), frames at least 10.
        grid: As they were averaged.

    Returns:
        A head whose ``predicted`` are results of frames, each by a map that was fitted without its stretch.
    """
    weight, bias = _whitening(features)
    predicted = np.empty((len(features), weight.shape[1]))
    # Neighbours in a video are alike: stretches are left out, not single frames.
    for part in np.array_split(np.arange(len(features)), 5):
        others = np.delete(np.arange(len(features)), part)
        of_others, offset = _whitening(features[others])
        predicted[part] = features[part] @ of_others + offset
    # One value at the end of its range is then as far as the farthest frame, however the others turn out.
    room = float(np.linalg.norm(predicted, axis=1).max())
    return Head(grid, weight.astype(np.float32), bias.astype(np.float32), predicted, room)


def _whitening(features: Rows) -> tuple[Float64Array, Float64Array]:
    values = features.astype(np.float64)
    mean, count = values.mean(axis=0), len(values)
    centred = values - mean
    covariance = centred.T @ centred / count
    # Ledoit and Wolf, J. Multivariate Analysis 88, 2004: towards equal variances, as far as the frames are few.
    size = len(covariance)
    average = float(np.trace(covariance)) / size
    apart = float(((covariance - average * np.eye(size)) ** 2).sum())
    spread = (float(((centred**2).sum(axis=1) ** 2).mean()) - float((covariance**2).sum())) / count
    shrunk = min(max(spread / apart, 0.0), 1.0) if apart > 0 else 1.0
    variances, directions = np.linalg.eigh((1 - shrunk) * covariance + shrunk * average * np.eye(size))
    least = max(LEAST_VARIANCE * float(variances[-1]), 1e-12)
    weight = directions / np.sqrt(np.maximum(variances, least))
    return weight, -mean @ weight


def plan_far(
    candidates: Sequence[Candidate],
    others: Sequence[Candidate],
    task_macs: int,
    asked: Asked,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """The gate that tells most of the made-up frames, weighed by the share of the task that lies behind it.

    Args:
        candidates: In running order, of the frames of the fit.
        others: The same places, of frames that are made up.
        task_macs: Of the task.
        asked: The promise.
        tell: Told how many candidates of how many are judged.

    Returns:
        A plan whose ``saved`` is that share of the MACs of made-up frames.
    """
    best = Plan((), LEAST_GAIN)
    for number, (candidate, other) in enumerate(zip(candidates, others, strict=True), 1):
        tell(number, len(candidates))
        if candidate.features.shape[1] > MOST_FEATURES:
            continue
        planned = _planned(candidate.place, whitening(candidate.features, candidate.grid), asked)
        head = planned.head
        # A tensor of the bundle ends where those of the frames of the fit do.
        seen = np.clip(other.features, candidate.features.min(axis=0), candidate.features.max(axis=0))
        distances = np.linalg.norm(seen @ head.weight + head.bias, axis=1)
        usual = np.quantile(np.linalg.norm(head.predicted, axis=1), 1 - asked.max_disagreement)
        told = float((distances > usual).mean())
        saved = (told * (task_macs - candidate.place.macs) - head.macs) / task_macs
        if saved > best.saved:
            best = Plan((planned,), saved)
    return best if best.exits else Plan((), 0.0)


def refitted_far(planned: Planned, features: Rows, asked: Asked) -> Planned:
    """A gate with a map for other features of the same place, see :func:`planning.refitted`."""
    return _planned(planned.place, whitening(features, planned.head.grid), asked)


def told_far(task: str, plan: Plan) -> str:
    """What a plan is, for people."""
    if not plan.exits:
        return (
            f"no gate of {task} tells made-up frames from those given, behind layers of up to {MOST_FEATURES} channels"
        )
    (one,) = plan.exits
    return (
        f"{task} may call frames unknown behind {one.place.tensor} ({one.place.macs:,} MACs before it), which saves "
        f"{100 * plan.saved:.0f} % of the MACs of made-up frames: negatives, shuffled pieces, noise"
    )


def _planned(place: Place, head: Head, asked: Asked) -> Planned:
    distances = np.linalg.norm(head.predicted, axis=1)
    falling = np.sort(distances)[::-1]
    shares = np.linspace(0, min(1.5 * asked.max_disagreement, 1.0), STEPS)
    places = np.minimum((shares * len(falling)).astype(int), len(falling) - 1)
    # No frame is to lie on a threshold; the first is one that hardly any frame exceeds.
    between = (falling[places] + falling[np.minimum(places + 1, len(falling) - 1)]) / 2
    tests = np.unique([1.1 * falling[0], *between])[::-1]
    block = block_length(distances[None] > tests[:, None])
    everything = np.ones(len(distances), bool)
    return Planned(
        place, head, "far", 1.0, tests, asked.max_disagreement, everything, head.predicted.astype(np.float32), block
    )


def calibrate_far(bundle: Bundle, one: Inserted, frames: Frames, asked: Asked, report: Report) -> Exit | None:
    """The gate with the least distance that is shown to be exceeded rarely; None if none is, which is told.

    Args:
        bundle: With the gate's segment.
        one: The gate.
        frames: Unlabeled, which neither its map nor its place was chosen by.
        asked: The promise: which share of frames like these may be called unknown.
        report: Takes a line now and then.
    """
    spec, count, block = bundle.manifest.tensor(one.output), len(frames), one.planned.block
    runner = BundleRunner(bundle)
    segments = [*segments_before(bundle.manifest, one.task, one.planned.place.tensor), one.segment]
    squares = [squared(runner.values(segments, frame)[one.output], spec) for frame in frames]
    tests = one.planned.surenesses.tolist()
    # What is no number is far, as on the device.
    far = ~(np.array(squares)[None] <= np.array([[most_squared(distance, spec)] for distance in tests]))
    counts = [Threshold(float(d), int(n), int(n)) for d, n in zip(tests, far.sum(axis=1), strict=True)]
    blocks = Blocks(block, asked.max_disagreement)
    chances = None if block == 1 else [blocks.chance(np.ones(count, bool), row) for row in far]
    found = accepted(counts, asked, [1 - asked.confidence, *[0.0] * (len(counts) - 1)], count, chances)
    if not found:
        report(
            f"warning: no distance of {one.segment} of {one.task} is shown to be exceeded by at most "
            f"{100 * asked.max_disagreement:g} % of such frames at {100 * asked.confidence:g} % with {count:,} frames "
            f"{in_blocks(block)}: it is left out; give more frames, or allow more"
        )
        return None
    last = found[-1]
    promise = Promise(
        "marginal", asked.max_disagreement, asked.confidence, count, count, last.taken, last.disagreed, block
    )
    return Exit(one.segment, one.output, "far", 1.0, last.sureness, promise)
