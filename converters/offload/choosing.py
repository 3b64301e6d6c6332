"""Where to cut tasks for a server: every cut point at some numbers of bits, and which answers soonest on a link.

Answering here alone always competes, and so does sending the network input, with all of the network on the server. What
answers soonest is taken if device and server together keep the agreement that the task has to show.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.bundle.offload_choice import OffloadChoice
from multigraft.converters.exits.places import Places
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.job.progress import Report
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import Network, session_of
from multigraft.converters.network.splitting import with_boundary
from multigraft.converters.offload.server_time import ServerTime
from multigraft.converters.offload.tail import Tail, make_tail
from multigraft.converters.packing.fidelity import answers_agreement
from multigraft.converters.packing.finishing import Conversion
from multigraft.converters.settings.settings import Settings
from multigraft.errors import InputError, UsageError
from multigraft.runtime import Engine
from multigraft.runtime.benchmark import measure_latency
from multigraft.runtime.offload.cuts import cuts_of
from multigraft.runtime.offload.inference_client import InferenceClient
from multigraft.runtime.offload.link import Link
from multigraft.runtime.offload.remote_task import RemoteTask
from multigraft.runtime.offload.split_choice import Split, splits_of
from multigraft.runtime.offload.wire import wire_tensors
from multigraft.tensors.preparation import Frame

RUNS, WARMUP = 200, 20
TIMED_FRAMES = 64
CODED_FRAMES = 16
JUDGED_FRAMES = 400
"""Frames at most on which device and server together are compared with the original network."""

LEAST_GAIN = 0.1
"""Share of the local answer's time that a server has to save: who is asked may also be gone."""

Convert = Callable[[MultiTaskModel], Conversion]


@dataclass(frozen=True)
class TriedSplits:
    """What was found of one task.

    Attributes:
        task: Its name.
        choice: What the bundle will say.
        splits: All that were measured, the soonest answer first.
        is_server: The server's times were measured there; else on this machine.
        rejected: Of those that answer sooner than the choice: (cut, bits) to the agreement that they have.
    """

    task: str
    choice: OffloadChoice
    splits: tuple[Split, ...]
    is_server: bool
    rejected: Mapping[tuple[str, int], float]


def with_chosen_splits(
    settings: Settings,
    multitask: MultiTaskModel,
    networks: Sequence[Network],
    evidence: Mapping[str, Evidence],
    convert: Convert,
    server: InferenceClient | None,
    report: Report,
) -> tuple[MultiTaskModel, tuple[TriedSplits, ...]]:
    """The graph, cut where that pays, and what was found; as it is where nothing is asked for.

    Args:
        settings: The table ``[offload]`` says what is asked.
        multitask: The graph and its segments.
        networks: The originals.
        evidence: Task to its unlabeled frames.
        convert: Makes a bundle of a graph.
        server: Where rests are timed; None for this machine.
        report: Takes a line for each step.

    Raises:
        UsageError: No task can be offloaded.
    """
    if settings.offload.split == "none" or settings.offload.link is None or not evidence:
        return multitask, ()
    report("convert with every cut point, to see what each costs")
    everywhere = _split_everywhere(multitask)
    tried = convert(everywhere)
    timing = ServerTime(server, report)
    by_name = {network.name: network for network in networks}
    found = []
    for name in _offloadable(tried.bundle, evidence, report):
        report(f"measuring the cut points of {name}")
        trial = _Trial(tried.bundle, everywhere, by_name[name], evidence[name], report)
        found.append(trial.chosen(settings, timing))
    for one in found:
        if not one.choice.is_local:
            multitask = with_boundary(multitask, one.choice.cut)
    return multitask, tuple(found)


def with_choices(bundle: Bundle, tried: Sequence[TriedSplits]) -> Bundle:
    """The bundle that says what was chosen."""
    choices = {one.task: one.choice for one in tried}
    return bundle.with_tasks(dataclasses.replace(t, offload=choices.get(t.name)) for t in bundle.manifest.tasks)


def choose(
    splits: Sequence[Split], link: str, least: float, judge: Callable[[Split], tuple[float, int]]
) -> tuple[OffloadChoice, dict[tuple[str, int], float]]:
    """The split that answers soonest of those that agree, if that is well before the local answer.

    Args:
        splits: The soonest answer first.
        link: As it is written.
        least: Agreement that the task has to show.
        judge: A split to its agreement with the original network, and the number of frames.

    Returns:
        The choice, and the agreement of those that would answer sooner and do not agree.
    """
    local_us, rejected = (splits[0].local_us if splits else 0.0), dict[tuple[str, int], float]()
    for split in itertools.takewhile(lambda s: s.total_us <= (1 - LEAST_GAIN) * local_us, splits):
        value, frames = judge(split)
        if value >= least:
            return OffloadChoice(split.cut, split.bits, link, split.total_us, local_us, value, frames), rejected
        rejected[split.cut, split.bits] = value
    return OffloadChoice("", 0, link, local_us, local_us), rejected


def _split_everywhere(multitask: MultiTaskModel) -> MultiTaskModel:
    """With a boundary at every place where a server could go on."""
    split, places = multitask, Places(multitask)
    for task in multitask.tasks:
        for place in places.of(task):
            split = with_boundary(split, place.tensor)
    return split


def _offloadable(bundle: Bundle, evidence: Mapping[str, Evidence], report: Report) -> list[str]:
    names, reason = [], UsageError("no task has frames of its own", "name unlabeled frames")
    for name in (task.name for task in bundle.manifest.tasks if task.name in evidence):
        try:
            if cuts_of(bundle.manifest, name):
                names.append(name)
        except UsageError as error:
            report(f"note: {name} stays local: {error.problem}")
            reason = error
    if not names:
        raise reason
    return names


class _Trial:
    """One task of a bundle that is cut everywhere.

    Args:
        bundle: It.
        multitask: The float graph of ``bundle``.
        network: The original.
        evidence: Its frames.
        report: Takes a line for each cut that cannot be used.
    """

    def __init__(
        self,
        bundle: Bundle,
        multitask: MultiTaskModel,
        network: Network,
        evidence: Evidence,
        report: Report,
    ) -> None:
        self._task, self._network, self._multitask = network.name, network, multitask
        self._engine, self._report = Engine(bundle), report
        frames = evidence.accept[:JUDGED_FRAMES]
        self._evidence = Evidence(evidence.fit, frames)
        self._tails: dict[str, Tail | None] = {}

    def chosen(self, settings: Settings, server: ServerTime) -> TriedSplits:
        """Every split measured, and the soonest that keeps the task's agreement."""
        assert settings.offload.link is not None
        splits = self._measured(Link.parse(settings.offload.link), server)
        least = settings.least_agreements[self._task]
        choice, rejected = choose(splits, settings.offload.link, least, lambda split: self._agreement(split, settings))
        return TriedSplits(self._task, choice, tuple(splits), server.is_measured_there, rejected)

    def _measured(self, link: Link, server: ServerTime) -> list[Split]:
        frames, name = list(self._evidence.accept[:TIMED_FRAMES]), self._task
        timing = measure_latency(self._engine, frames, (name,), RUNS, WARMUP)
        splits = splits_of(self._engine, name, frames[:CODED_FRAMES], timing, link)
        rests = {}
        for cut in dict.fromkeys(split.cut for split in splits):
            if (tail := self._tail(cut)) is not None:
                packet = RemoteTask(self._engine, name, cut).packet(self._answered(frames[0]), 8)
                rests[cut] = tail, wire_tensors(packet)
        taken_s = server.seconds(rests)
        found = [dataclasses.replace(s, server_us=taken_s[s.cut] * 1e6) for s in splits if s.cut in taken_s]
        return sorted(found, key=lambda split: split.total_us)

    def _answered(self, frame: Frame) -> Frame:
        """The frame, whose values the engine holds from now on."""
        self._engine.run(frame, (self._task,))
        return frame

    def _tail(self, cut: str) -> Tail | None:
        if cut not in self._tails:
            try:
                self._tails[cut] = make_tail(self._engine.bundle, self._multitask, self._task, cut)
            except InputError as error:
                self._tails[cut] = None
                self._report(f"note: {self._task} is not cut at {cut}: {error.problem}")
        return self._tails[cut]

    def _agreement(self, split: Split, settings: Settings) -> tuple[float, int]:
        """Share of frames on which device and server together answer as the original, and how many they were."""
        tail = self._tail(split.cut)
        assert tail is not None
        session, remote = session_of(tail.model, self._task), RemoteTask(self._engine, self._task, split.cut)
        rows = [
            session.run(None, wire_tensors(remote.packet(self._answered(frame), split.bits)))
            for frame in self._evidence.accept
        ]
        answers = [np.concatenate(output) for output in zip(*rows, strict=True)]
        tolerance = next(t.tolerance for t in settings.tasks if t.name == self._task)
        found = answers_agreement(answers, self._network, self._evidence, settings.budget.confidence, tolerance)
        return found.value, found.frames
