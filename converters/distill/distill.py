"""Label-free distillation: after the closed form, a graft's own layers are trained to answer as the original network.

The donor's features on the fit frames and on shifted copies of them go in, the original network's outputs come out; no
label is needed, since the original answers for any frame. Adam with a cosine schedule trains all layers of the tail at
once, which the layer-wise closed form cannot. The frames that accept a graft are never trained on, and a graft that
they find no better stays as it was.

Keeping a fifth of the fit frames out for early stopping was tried and cost more than it gave, since the schedule ends
at rate zero and agreement still grows there; so all are trained on.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.answers.kind import Kind
from multigraft.converters.distill.torch_operators import Tensor
from multigraft.converters.distill.torch_tail import TorchTail, import_torch, with_weights
from multigraft.converters.graft.candidate import Candidate, agreement_of
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.job.progress import Report
from multigraft.converters.network.frames import Frame, Frames
from multigraft.converters.network.network import RUN_BATCH, Array, Network
from multigraft.converters.planning.grown import grown
from multigraft.errors import UnsupportedOperatorError

TRAINING_MACS = 2e12
"""Multiply-accumulates spent on training one tail, about a minute of one core; they set the number of epochs."""

BACKWARD = 3
"""A training step costs about three forward passes."""

MIN_EPOCHS, MAX_EPOCHS = 5, 400

VIEW_MACS = 5e11
VIEW_BYTES = 2**29
MAX_VIEWS = 16
"""Copies of the frames, the first unshifted; as many as these bounds on work and memory allow."""

SHIFT = 0.1
"""Largest shift of a copy, as a fraction of the frame's side."""

BATCH = 32
LEARNING_RATE = 3e-3
SHORT_LEARNING_RATE = 1e-3
SHORT_STEPS = 1000
"""Below this many steps there is no time to recover from large ones."""

TEMPERATURE = 2.0
LOGIT_SHARE = 0.1
"""Weight of the squared error of the logits beside the divergence of the softened classes."""

ONE_THREAD_MACS = 10_000_000
"""Tails up to this size train in one thread: several wait for each other longer than they work, on a busy machine up to
a hundred times."""

SMALLEST_PROBABILITY = 1e-6
REPORTS = 20


@dataclass(frozen=True)
class _Examples:
    """What to learn: for each view of each frame the donor's features and the original outputs.

    Attributes:
        features: (views, frames, *shape).
        outputs: Each (views, frames, *shape).
    """

    features: Array
    outputs: list[npt.NDArray[Any]]


def distill_plan(
    chosen: SharingPlan,
    networks: Sequence[Network],
    evidence: Mapping[str, Evidence],
    options: SearchOptions,
    report: Report,
) -> SharingPlan:
    """Train the tail of every graft that is not exact and keep what the held-out frames find better.

    Args:
        chosen: The plan to refine.
        networks: All networks of the plan.
        evidence: Task to its frames; trained on ``fit``, judged on ``accept``.
        options: Confidence and tolerances of the agreement, and the seed.
        report: Takes a line now and then.

    Returns:
        A plan whose grafts have at least the agreement bounds of ``chosen``; a tail that cannot be trained is kept, and
        reported.

    Raises:
        MissingDependencyError: PyTorch is not installed.
    """
    torch = import_torch()
    by_name = {n.name: n for n in networks}
    grafts = dict(chosen.grafts)
    for task, candidate in chosen.grafts.items():
        if candidate.join.method == "exact":
            continue
        if len(candidate.tail.sources) > 1 or any(g.join.donor == task for g in grafts.values()):
            report(f"distill {task}: kept as it was, it reads several tensors or others stand on it")
            continue
        donor, target = grown(by_name[candidate.join.donor], chosen, by_name), by_name[task]
        try:
            with _repeatable(torch, candidate.own_macs):
                refined = _distilled(torch, candidate, donor, target, evidence[task], options, report)
        except UnsupportedOperatorError as error:
            report(f"distill {task}: kept as it was, {error.problem}")
            continue
        before, after = candidate.shown, refined.shown
        if after.lower_bound > before.lower_bound:
            grafts[task] = refined
            report(f"distill {task}: agreement {before.value:.4f} -> {after.value:.4f}")
        else:
            report(f"distill {task}: kept as it was, agreement {before.value:.4f} would become {after.value:.4f}")
    return chosen.with_grafts(grafts)


def _distilled(
    torch: Any,
    candidate: Candidate,
    donor: Network,
    target: Network,
    evidence: Evidence,
    options: SearchOptions,
    report: Report,
) -> Candidate:
    module = TorchTail(candidate.tail)
    if not module.parameters:
        return candidate
    rng = np.random.default_rng(options.seed)
    report(f"distill {target.name}: look at {len(evidence.fit)} frames")
    with torch.no_grad():
        # One batch first: an attribute that has no counterpart shows before the long work.
        first = _features(candidate, donor, evidence.fit[:1])
        module(torch.from_numpy(first))
    examples = _examples(candidate, donor, target, evidence.fit, rng)
    _train(torch, module, candidate, target, examples, rng, report)
    tail = with_weights(candidate.tail, module.values())
    refined = dataclasses.replace(candidate, tail=tail)
    tolerance = (options.tolerances or {}).get(target.name)
    shown = agreement_of(refined.join, tail, donor, target, evidence, options.confidence, tolerance)
    return dataclasses.replace(refined, agreement=shown)


def _train(
    torch: Any,
    module: TorchTail,
    candidate: Candidate,
    target: Network,
    examples: _Examples,
    rng: np.random.Generator,
    report: Report,
) -> None:
    views, frames = examples.features.shape[:2]
    epochs = int(np.clip(TRAINING_MACS / (BACKWARD * frames * max(candidate.own_macs, 1)), MIN_EPOCHS, MAX_EPOCHS))
    steps = epochs * -(-frames // BATCH)
    rate = LEARNING_RATE if steps >= SHORT_STEPS else SHORT_LEARNING_RATE
    optimiser = torch.optim.Adam(module.parameters.values(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    features = torch.from_numpy(examples.features)
    goals = [_Goal(torch, target.kind, wanted) for wanted in examples.outputs]
    for epoch in range(epochs):
        total = 0.0
        order, view = rng.permutation(frames), rng.integers(0, views, frames)
        for start in range(0, frames, BATCH):
            picked = view[start : start + BATCH], order[start : start + BATCH]
            predicted = module(features[picked])
            loss = sum(goal.loss(y, picked) for goal, y in zip(goals, predicted, strict=True))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(picked[0])
        if (epoch + 1) % max(1, epochs // REPORTS) == 0:
            report(f"distill {target.name}: epoch {epoch + 1} of {epochs}, loss {total / frames:.4f}")


class _Goal:
    """One output of the original network and how far a prediction is from it.

    Classes: divergence of the softened distributions plus a little squared error of the logits. Anything else: squared
    error over the variance of each channel.

    Args:
        torch: The PyTorch module.
        kind: What the output means.
        wanted: (views, frames, *shape).
    """

    def __init__(self, torch: Any, kind: Kind, wanted: npt.NDArray[Any]) -> None:
        self._torch = torch
        shape = wanted.shape[2:]
        self._axis = _channel_axis(shape)
        is_flat = int(np.prod(shape)) == shape[self._axis]
        is_image = len(shape) == 3
        has_classes = (kind == "classification" and is_flat) or (kind == "segmentation" and is_image)
        self._is_classes = has_classes and shape[self._axis] > 1
        rows = np.moveaxis(wanted, 2 + self._axis, -1)
        self._is_probability = self._is_classes and bool(
            rows.min() >= 0 and np.allclose(rows.sum(axis=-1, dtype=np.float64), 1, atol=1e-3)
        )
        self._wanted = self._logits(torch.from_numpy(np.ascontiguousarray(rows, np.float32)))
        spread = self._wanted.reshape(-1, rows.shape[-1])
        if self._is_classes:
            self._variance = spread.var(unbiased=False).clamp_min(1e-12)
        else:
            variance = spread.var(0, unbiased=False)
            self._variance = variance.clamp_min(max(float(variance.mean()) * 1e-3, 1e-12))

    def loss(self, predicted: Tensor, picked: tuple[npt.NDArray[Any], npt.NDArray[Any]]) -> Tensor:
        """A scalar for predictions (batch, *shape) of the ``picked`` (view, frame) pairs."""
        wanted = self._wanted[picked]
        predicted = self._logits(predicted.movedim(1 + self._axis, -1))
        error = ((predicted - wanted).square() / self._variance).mean()
        if not self._is_classes:
            return error
        classes = wanted.shape[-1]
        soft = [(y / TEMPERATURE).reshape(-1, classes).log_softmax(-1) for y in (predicted, wanted)]
        divergence = self._torch.nn.functional.kl_div(*soft, log_target=True, reduction="batchmean")
        return divergence * TEMPERATURE**2 + LOGIT_SHARE * error

    def _logits(self, y: Tensor) -> Tensor:
        return y.clamp_min(SMALLEST_PROBABILITY).log() if self._is_probability else y


def _channel_axis(shape: tuple[int, ...]) -> int:
    """The axis of classes or coordinates in an output without its batch: the shorter of the first and the last."""
    if len(shape) == 3:
        return 0 if shape[0] <= shape[2] else 2
    if len(shape) == 2:
        return 0 if shape[0] < shape[1] else 1
    return len(shape) - 1


def _examples(
    candidate: Candidate, donor: Network, target: Network, frames: Frames, rng: np.random.Generator
) -> _Examples:
    elements = sum(int(np.prod(target.shapes[o])) for o in target.outputs)
    elements += int(np.prod(candidate.join.donor_point.shape))
    work = VIEW_MACS / (len(frames) * max(candidate.join.donor_point.macs + target.macs, 1))
    views = int(np.clip(min(work, VIEW_BYTES / (4 * elements * len(frames))), 1, MAX_VIEWS))
    features, outputs = [], []
    for view in range(views):
        seen: Frames = frames if view == 0 else [_shifted(f, rng) for f in frames]
        parts = [seen[i : i + RUN_BATCH] for i in range(0, len(seen), RUN_BATCH)]
        features.append(np.concatenate([_features(candidate, donor, part) for part in parts]))
        original = [target.run(target.prepare(part)) for part in parts]
        outputs.append([np.concatenate([o[name] for o in original]) for name in target.outputs])
    return _Examples(np.stack(features), [np.stack(o) for o in zip(*outputs, strict=True)])


def _shifted(frame: Frame, rng: np.random.Generator) -> Frame:
    """A copy moved by up to :data:`SHIFT` of its sides; the edges are repeated."""
    index = []
    for length in frame.shape[:2]:
        most = max(1, round(SHIFT * length))
        index.append(np.clip(np.arange(length) + rng.integers(-most, most + 1), 0, length - 1))
    return frame[index[0]][:, index[1]]


def _features(candidate: Candidate, donor: Network, frames: Frames) -> Array:
    source = candidate.join.donor_point.name
    return donor.run(donor.prepare(frames), [source])[source].astype(np.float32)


@contextlib.contextmanager
def _repeatable(torch: Any, macs: int) -> Iterator[None]:
    """The same weights on every run; PyTorch's settings are put back at the end."""
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    if macs <= ONE_THREAD_MACS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])
