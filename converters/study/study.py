"""What predicts accuracy after sharing a trunk: over all share points of labelled networks, similarity or agreement?

Every network is grafted onto every other at every pair of cut points of equal shape, raw and refitted, and at the most
similar cut point of another shape where there is no equal one, through an adapter. For each graft the accuracy on
labelled frames stands beside what can be known without labels; for related networks arXiv 2410.11233 reports Pearson's
|r| above 0.94 between accuracy and similarity.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import pearsonr

from multigraft.bundle.manifest import Relation as JoinRelation
from multigraft.converters.graft.adapter import is_joinable
from multigraft.converters.graft.candidate import judge, make_tail
from multigraft.converters.graft.evidence import Evidence, LoadedFrames, LoadFrames, split
from multigraft.converters.graft.join import Join, Method
from multigraft.converters.graft.lineage import lineage
from multigraft.converters.importing.importer import load_task
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.labelled import Labelled, load_labelled
from multigraft.converters.network.network import CutPoint, Network
from multigraft.converters.settings.settings import Settings
from multigraft.converters.similarity.representations import (
    SimilarityTable,
    by_frames,
    joined,
    measure_similarity,
    union_of,
)
from multigraft.errors import ConfigurationError, InputError, UsageError
from multigraft.tensors.preparation import row_shape, take_same_frames

Relation = Literal["relatives", "independent"]
Outcome = Literal["accuracy", "kept"]
Sharing = Literal["raw", "refitted"]

PREDICTORS = ("unbiased_cka", "biased_cka", "agreement", "shared_bytes", "shared_macs")
PREDICTOR_TEXT = {
    "unbiased_cka": "unbiased CKA",
    "biased_cka": "biased CKA",
    "agreement": "agreement",
    "shared_bytes": "shared bytes",
    "shared_macs": "shared MACs",
}
SIMILARITY_FRAMES = 512
"""Frames on which representations are compared."""

MIN_POINTS = 4
"""Fewer points have no confidence interval of r (Fisher's z has variance 1 / (n - 3))."""

BYTES_PER_WEIGHT = 4
"""Shared bytes are those of the float32 weights; r does not depend on the factor."""


@dataclass(frozen=True)
class StudyPoint:
    """One graft.

    Attributes:
        donor: Network whose first layers serve.
        target: Network that is grafted onto it.
        donor_layer: The donor's cut point.
        target_layer: The target's cut point that it replaces.
        relation: ``relatives`` if the networks' weights are equal or close up to there, else ``independent``.
        same_layer: Both cut points have the same place in networks of one structure.
        sharing: ``raw``: the target's own layers behind the donor's features; ``refitted``: re-solved.
        method: As :data:`multigraft.converters.graft.candidate.Method`.
        accuracy: The target's on its labelled frames after grafting.
        original_accuracy: Before.
        unbiased_cka: Between the two cut points.
        biased_cka: Between the two cut points.
        agreement: With the target's original answers on held-out unlabeled frames.
        shared_bytes: Float32 weights of the donor up to its cut point.
        shared_macs: Multiply-accumulates of the donor up to its cut point.
    """

    donor: str
    target: str
    donor_layer: str
    target_layer: str
    relation: Relation
    sharing: Sharing
    method: Method
    accuracy: float
    original_accuracy: float
    unbiased_cka: float
    biased_cka: float
    agreement: float
    shared_bytes: int
    shared_macs: int
    same_layer: bool = False

    @property
    def kept(self) -> float:
        """Accuracy as a share of the original's: tasks of different difficulty can be pooled by it."""
        return self.accuracy / self.original_accuracy if self.original_accuracy else 0.0

    @property
    def pair(self) -> str:
        return f"{self.target} on {self.donor}"


@dataclass(frozen=True)
class Correlation:
    """Pearson's r between labelled accuracy and one predictor.

    Attributes:
        group: ``relatives``, ``independent``, ``all``; relatives at the same layer of both, over all tasks or for one
            (``TARGET, same layer``), which is what arXiv 2410.11233 looks at; or one pair, ``TARGET on DONOR``.
        sharing: Raw or refitted.
        outcome: ``accuracy`` on labelled frames, or what share of the original's is ``kept``; within a pair both have
            the same r, and only ``accuracy`` is given.
        predictor: One of :data:`PREDICTORS`.
        points: Number of grafts.
        r: None where there are fewer than 4 points or one of both is constant.
        p_value: Two-sided, of no correlation (normal, independent points, which grafts of few networks are not quite).
        low: Lower end of the 95 % confidence interval of r (Fisher).
        high: Upper end.
    """

    group: str
    sharing: Sharing
    outcome: Outcome
    predictor: str
    points: int
    r: float | None
    p_value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Study:
    """All grafts and what correlates.

    Attributes:
        points: One per graft.
        correlations: Per group, sharing and predictor.
        fit_frames: Task to the number of frames for refitting.
        accept_frames: Task to the number of frames for agreement.
        labelled_frames: Task to the number of labelled frames.
        similarity_frames: Frames for CKA.
        minibatch: Frames per minibatch of CKA, which the biased figure depends on.
    """

    points: tuple[StudyPoint, ...]
    correlations: tuple[Correlation, ...]
    fit_frames: dict[str, int]
    accept_frames: dict[str, int]
    labelled_frames: dict[str, int]
    similarity_frames: int
    minibatch: int

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def study_settings(settings: Settings, load_frames: LoadFrames, report: Report = silent) -> Study:
    """The study of a settings file whose tasks all name ``labelled`` frames.

    Args:
        settings: As read from multigraft.toml; the budget only decides how frames are split.
        load_frames: Opens a frame source.
        report: Takes a line for each step.

    Raises:
        MultigraftError: As :func:`study`, or a task lacks frames, or a file is not as it has to be.
    """
    paths = {t.name: (settings.frames_of(t), t.labelled) for t in settings.tasks}
    for task, (frames, labelled_frames) in paths.items():
        if frames is None or labelled_frames is None:
            missing = "unlabeled frames" if frames is None else "labelled frames"
            key = "frames" if frames is None else "labelled"
            raise ConfigurationError(f"{settings.path}: task {task!r} has no {missing}", f"set {key} for it")
    evidence, labelled = {}, {}
    loaded = LoadedFrames(load_frames)
    for settings_of_task in settings.tasks:
        task, (frames, labelled_frames) = settings_of_task.name, paths[settings_of_task.name]
        assert frames is not None and labelled_frames is not None
        evidence[task] = split(loaded(frames, settings_of_task.preprocessing), settings, frames)
        labelled[task] = load_labelled(labelled_frames, task, row_shape(settings_of_task.preprocessing))
    networks = []
    for task_settings in settings.tasks:
        report(f"import {task_settings.name}")
        networks.append(load_task(task_settings, settings.path.parent, trusts_code=settings.trusts_code))

    _check(networks, labelled)
    seed = settings.graft.seed
    tables = []
    for group in by_frames(networks):
        seen = union_of({n.name: evidence[n.name].fit for n in group}, SIMILARITY_FRAMES)
        tables.append(measure_similarity(group, seen, seed=seed, report=report))
    similarity = joined(tables, networks)
    return study(networks, evidence, labelled, similarity, seed=seed, report=report)


def study(
    networks: Sequence[Network],
    evidence: Mapping[str, Evidence],
    labelled: Mapping[str, Labelled],
    similarity: SimilarityTable,
    *,
    pairs: Collection[tuple[str, str]] | None = None,
    seed: int = 0,
    report: Report = silent,
) -> Study:
    """Graft at all share points and correlate.

    Args:
        networks: Two or more classifiers with distinct names.
        evidence: Task to its unlabeled frames.
        labelled: Task to its labelled frames; the refit never sees them.
        similarity: CKA between all cut points.
        pairs: Donor and target of each pair to be looked at, by name; all where it is None.
        seed: The seed of the refit.
        report: Takes a line for each graft.

    Raises:
        UsageError: Fewer than two networks, or one is no classifier.
        InputError: Labels beyond the classes of a network.
    """
    _check(networks, labelled)
    original = {n.name: _accuracy(n.run(n.prepare(labelled[n.name].frames)), n, labelled[n.name]) for n in networks}
    joins = [
        (donor, target, join)
        for donor, target in itertools.permutations(networks, 2)
        if pairs is None or (donor.name, target.name) in pairs
        for join in _joins(donor, target, similarity)
    ]
    points = []
    for index, (donor, target, join) in enumerate(joins, 1):
        report(f"graft {target.name} onto {donor.name}: {join.method} ({index} of {len(joins)})")
        points.append(
            _measure(donor, target, join, evidence[target.name], labelled[target.name], similarity, original, seed)
        )
    return Study(
        tuple(points),
        tuple(correlate(points)),
        {n.name: len(evidence[n.name].fit) for n in networks},
        {n.name: len(evidence[n.name].accept) for n in networks},
        {n.name: len(labelled[n.name].frames) for n in networks},
        similarity.frames,
        similarity.minibatch,
    )


def correlate(points: Sequence[StudyPoint]) -> Iterator[Correlation]:
    """Pearson's r with every predictor: pooled over relatives, independent networks and all, for every task on its
    relatives' same layers, and for every pair."""
    pooled = {
        "relatives": [p for p in points if p.relation == "relatives"],
        "independent": [p for p in points if p.relation == "independent"],
        "all": list(points),
    }
    same = [p for p in pooled["relatives"] if p.same_layer]
    if same:
        pooled["relatives, same layer"] = same
        pooled |= {
            f"{t}, same layer": [p for p in same if p.target == t] for t in dict.fromkeys(p.target for p in same)
        }
    pairs = {pair: [p for p in points if p.pair == pair] for pair in dict.fromkeys(p.pair for p in points)}
    kinds: tuple[Sharing, ...] = ("raw", "refitted")
    outcomes: tuple[Outcome, ...] = ("accuracy", "kept")
    for (group, members), sharing, outcome in itertools.product((pooled | pairs).items(), kinds, outcomes):
        if outcome == "kept" and group not in pooled:
            continue
        chosen = [p for p in members if p.sharing == sharing]
        y = np.array([getattr(p, outcome) for p in chosen], dtype=np.float64)
        for predictor in PREDICTORS:
            x = np.array([getattr(p, predictor) for p in chosen], dtype=np.float64)
            yield Correlation(group, sharing, outcome, predictor, len(chosen), *_pearson(x, y))


def _pearson(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[float, float, float, float] | tuple[None, None, None, None]:
    """r, two-sided p and the 95 % interval; None where r is not defined."""
    if len(x) < MIN_POINTS or not np.ptp(x) or not np.ptp(y):
        return None, None, None, None
    correlation = pearsonr(x, y)
    interval = correlation.confidence_interval(0.95)
    return float(correlation.statistic), float(correlation.pvalue), float(interval.low), float(interval.high)


def _check(networks: Sequence[Network], labelled: Mapping[str, Labelled]) -> None:
    if len(networks) < 2:
        raise UsageError("a study needs two networks or more", "add a [[task]]")
    for network in networks:
        if network.kind != "classification":
            raise UsageError(
                f"a study compares accuracies, and task {network.name!r} is {network.kind}", "give classification tasks"
            )
        classes = int(np.prod(network.shapes[network.outputs[0]]))
        labels = labelled[network.name].labels
        if labels.min() < 0 or labels.max() >= classes:
            raise InputError(
                f"the labels of task {network.name!r} reach from {labels.min()} to {labels.max()} and its network has "
                f"{classes} classes",
                f"give labels 0 to {classes - 1}",
            )


def _joins(donor: Network, target: Network, similarity: SimilarityTable) -> Iterator[Join]:
    """All share points: raw and refitted where shapes are equal, else through an adapter at the most similar point."""
    if not take_same_frames(donor.preprocessing, target.preprocessing):
        return
    line = lineage(donor, target)
    related = {(d.name, t.name) for d, t in (*line.equal, *line.related)}

    def join(d: CutPoint, t: CutPoint, method: Method) -> Join:
        # Relatives are networks, not pairs of layers: their other layers are what the similarity has to tell apart.
        relation: JoinRelation = "relative" if related else "independent"
        return Join(donor.name, target.name, d, t, method, relation, similarity(d.name, t.name))

    for t in target.cut_points:
        equal = [d for d in donor.cut_points if d.shape == t.shape]
        for d in equal:
            yield join(d, t, "raw")
            yield join(d, t, "refit")
        others = [] if equal else [d for d in donor.cut_points if is_joinable(d.shape, t.shape, 1)]
        if others:
            yield join(max(others, key=lambda d: similarity(d.name, t.name)), t, "adapter1")


def _measure(
    donor: Network,
    target: Network,
    join: Join,
    evidence: Evidence,
    labelled: Labelled,
    similarity: SimilarityTable,
    original: Mapping[str, float],
    seed: int,
) -> StudyPoint:
    tail, layers, adapter = make_tail(join, donor, target, evidence.fit, seed)
    measured = judge(join, tail, donor, target, evidence, 0.95, None, layers, adapter)
    source = join.donor_point.name
    features = donor.run(donor.prepare(labelled.frames), [source])[source].astype(np.float32)
    return StudyPoint(
        donor=donor.name,
        target=target.name,
        donor_layer=join.donor_point.label,
        target_layer=join.target_point.label,
        relation="relatives" if join.relation == "relative" else "independent",
        sharing="raw" if join.method == "raw" else "refitted",
        method=join.method,
        accuracy=labelled.accuracy(tail.run(features)[0]),
        original_accuracy=original[target.name],
        unbiased_cka=similarity(join.donor_point.name, join.target_point.name),
        biased_cka=similarity.biased_between(join.donor_point.name, join.target_point.name),
        agreement=measured.shown.value,
        shared_bytes=BYTES_PER_WEIGHT * join.donor_point.weights,
        shared_macs=join.donor_point.macs,
        same_layer=_is_same_layer(join, donor, target),
    )


def _is_same_layer(join: Join, donor: Network, target: Network) -> bool:
    shapes = [[point.shape for point in network.cut_points] for network in (donor, target)]
    places = donor.cut_points.index(join.donor_point), target.cut_points.index(join.target_point)
    return shapes[0] == shapes[1] and places[0] == places[1]


def _accuracy(outputs: Mapping[str, Any], network: Network, labelled: Labelled) -> float:
    return labelled.accuracy(outputs[network.outputs[0]])
