"""What each cut point of a task costs on a link, beside staying local; sending the input is the cut at the input.

What is left of the local answer's time once a representation has been computed, coded and carried is what a server may
take for a split to be the faster way. That needs no knowledge of the server.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from multigraft.errors import UsageError
from multigraft.runtime.benchmark import Timing
from multigraft.runtime.energy.estimate import TABLES, Table, estimate
from multigraft.runtime.engine import Engine
from multigraft.runtime.offload.cuts import cuts_of, segments_before
from multigraft.runtime.offload.link import Link
from multigraft.runtime.offload.ranges import MOST_BITS
from multigraft.runtime.offload.remote_task import RemoteTask
from multigraft.tensors.preparation import Frame

SHOWN_BITS = (MOST_BITS, 4, 2)


@dataclass(frozen=True)
class Split:
    """One way of answering a task.

    Attributes:
        cut: The tensor that travels.
        bits: Of a value.
        bytes_sent: A frame, mean, with the header of a packet.
        edge_us: Preparing, running and coding here, microseconds.
        link_us: Carrying it, and an answer back, microseconds.
        local_us: What the local answer takes, microseconds.
        edge_j: Estimate of what runs here, joules; neither coding nor radio are in it.
        local_j: The same of the local answer.
        server_us: What the server takes, microseconds; None where nobody knows.
    """

    cut: str
    bits: int
    bytes_sent: float
    edge_us: float
    link_us: float
    local_us: float
    edge_j: float
    local_j: float
    server_us: float | None = None

    @property
    def total_us(self) -> float:
        """From a frame to its answer by the server, microseconds; without the server where nobody knows its time."""
        return self.edge_us + self.link_us + (self.server_us or 0.0)

    @property
    def server_may_take_us(self) -> float:
        """What a server may take, so that its answer is there as soon as the local one; below 0 none is."""
        return self.local_us - self.edge_us - self.link_us

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "server_may_take_us": self.server_may_take_us}


def splits_of(
    engine: Engine, task: str, frames: Sequence[Frame], timing: Timing, link: Link, table: Table = TABLES["45nm"]
) -> list[Split]:
    """All cut points of a task at some numbers of bits, the least wait for a server first.

    Args:
        engine: Runs the bundle here.
        task: Its name.
        frames: What is coded, at least one.
        timing: How long segments of that task take here.
        link: To the server.
        table: Picojoules, for the estimate.

    Raises:
        UsageError: The task cannot be offloaded.
    """
    manifest = engine.manifest
    energy_j = estimate(manifest, manifest.task(task).segments, table).segments_j
    local_j = sum(energy_j.values())
    # The median of a sum is above the sum of medians where a machine is busy: what is compared is added up alike.
    ran_us = sum(timing.segments[name].p50 for name in manifest.task(task).segments)
    local_us = timing.preprocessing.p50 + ran_us + timing.answering.p50
    found = []
    for cut in cuts_of(manifest, task):
        remote = RemoteTask(engine, task, cut)
        before = segments_before(manifest, task, cut)
        before_us = sum(timing.segments[name].p50 for name in before)
        before_j = sum(energy_j[name] for name in before)
        for bits in SHOWN_BITS:
            sizes, coding_us = [], []
            for frame in frames:
                engine.run(frame, (task,))
                begun = time.perf_counter()
                sizes.append(len(remote.packet(frame, bits).to_bytes()))
                coding_us.append((time.perf_counter() - begun) * 1e6)
            size = float(np.mean(sizes))
            edge_us = timing.preprocessing.p50 + before_us + float(np.median(coding_us))
            link_us = link.seconds_for(size) * 1e6
            found.append(Split(cut, bits, size, edge_us, link_us, local_us, before_j, local_j))
    if not found:
        raise UsageError(f"task {task} has no tensor that can travel", "build a bundle with a cut point")
    return sorted(found, key=lambda split: split.total_us)
