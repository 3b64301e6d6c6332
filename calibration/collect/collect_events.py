"""What a collector tells while it runs and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from multigraft.calibration.views import View
from multigraft.statistics.release import Release
from multigraft.statistics.statistics import Statistics

Reason = Literal["source ended", "frames reached", "minutes reached", "precision reached", "stopped"]


@dataclass(frozen=True)
class CollectEvent:
    """How collecting stands now.

    Attributes:
        frames: Frames in the statistics, of all views.
        pending: Frames and crops that were run, but are not in the statistics yet.
        skipped: Frames that the selection refused in this run.
        rate_hz: Frames used per second in this run.
        active_s: Time spent collecting, all runs.
        precision: Half width of the widest 95 % interval of a CKA; None while it is not known.
        temperature_c: Temperature of the hottest zone.
        is_throttled: Whether the processor is slowed down.
        store_bytes: Size of the store.
        free_bytes: Free space on its disk.
        kept: Frames stored.
    """

    frames: int
    pending: int
    skipped: int
    rate_hz: float
    active_s: float
    precision: float | None
    temperature_c: float | None
    is_throttled: bool | None
    store_bytes: int
    free_bytes: int
    kept: int


OnCollectEvent = Callable[[CollectEvent], None]


@dataclass(frozen=True)
class Gathered:
    """What there is now of one view: of whole frames, or of crops.

    Attributes:
        view: What the networks look at.
        statistics: All that the store holds.
        path: The file that was written; None if there are too few frames.
        output: Where it is, or will be.
        release: Which release of the store it is; number 0 if there is none.
        missing: About how many more frames the next release needs; 0 if the file has all.
        used: Frames that this run added to the statistics.
    """

    view: View
    statistics: Statistics
    path: Path | None
    output: Path
    release: Release
    missing: int
    used: int


@dataclass(frozen=True)
class Collected:
    """How it ended.

    Attributes:
        reason: Why it stopped.
        skipped: Frames refused in this run.
        gathered: What there is of each view, whole frames first.
    """

    reason: Reason
    skipped: int
    gathered: tuple[Gathered, ...]

    @property
    def statistics(self) -> Statistics:
        """Those of whole frames."""
        return self.gathered[0].statistics

    @property
    def path(self) -> Path | None:
        """The file of whole frames; None if there are too few."""
        return self.gathered[0].path

    @property
    def release(self) -> Release:
        """That of whole frames."""
        return self.gathered[0].release

    @property
    def missing(self) -> int:
        """As :attr:`Gathered.missing`, of whole frames."""
        return self.gathered[0].missing

    @property
    def used(self) -> int:
        """Frames that this run added to the statistics, of all views."""
        return sum(one.used for one in self.gathered)
