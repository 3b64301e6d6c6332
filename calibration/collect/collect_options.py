"""How to collect, and where a collector puts what it writes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.calibration.collect.selection_rule import SelectionRule
from multigraft.calibration.defaults import FEATURES, MEMORY_BYTES, MINIBATCH
from multigraft.errors import UsageError
from multigraft.statistics.minimum_frames import MINIMUM_FRAMES
from multigraft.statistics.noise import Privacy

if TYPE_CHECKING:
    from multigraft.runtime.backends import BackendName


@dataclass(frozen=True)
class CollectOptions:
    """How to collect.

    Attributes:
        frames: Stop at so many frames in the statistics; None: never.
        minutes: Stop after so many minutes of collecting, all runs together.
        precision: Stop when the 95 % interval of every CKA is at most this much to each side.
        site: Where the device stands; the statistics are kept apart by it.
        minibatch: Frames per minibatch.
        memory_bytes: Bound for what is kept of the representations of a minibatch.
        features: Features per sample of a large tap; see :mod:`multigraft.calibration.collect.tap_sample`.
        minimum_frames: Below it no file is written.
        rule: Which frames are used.
        privacy: Noise on what leaves the device; None for none. Which frames are used, and how many, must then not
            depend on what they show.
        keep_frames: Store so many of the most uncertain frames.
        keep_bytes: Quota for them.
        keep_days: Age in days at which they are removed.
        keep_entropy: Only frames of an entropy, over the greatest there is, between these two of 0..1; None: all.
        keep_daily_bytes: Bytes of them at most in any 24 hours; None for no such limit.
        threads: Threads for the kernels.
        backend: Which interpreter.
    """

    frames: int | None = None
    minutes: float | None = None
    precision: float | None = None
    site: str = "site"
    minibatch: int = MINIBATCH
    memory_bytes: int = MEMORY_BYTES
    features: int = FEATURES
    minimum_frames: int = MINIMUM_FRAMES
    rule: SelectionRule = field(default_factory=SelectionRule)
    privacy: Privacy | None = None
    keep_frames: int = 0
    keep_bytes: int = 256 * 2**20
    keep_days: float = 7.0
    keep_entropy: tuple[float, float] | None = None
    keep_daily_bytes: float | None = None
    threads: int = 1
    backend: BackendName = "auto"

    def __post_init__(self) -> None:
        for name in ("frames", "minutes", "precision", "keep_daily_bytes"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value}", "give a positive number")
        if not self.site.strip() or "/" in self.site:
            raise UsageError(f"the site is {self.site!r}", "give a name without a slash")
        if self.keep_entropy is not None and not 0 <= self.keep_entropy[0] <= self.keep_entropy[1] <= 1:
            low, high = self.keep_entropy
            raise UsageError(f"the entropies to keep are {low:g} to {high:g}", "give two numbers of 0 to 1")
        if not self.keep_frames and (self.keep_entropy is not None or self.keep_daily_bytes is not None):
            raise UsageError("which frames are to be kept, and none is", "say how many by --keep-frames")
        if self.keep_daily_bytes is not None and self.keep_days < 1:
            raise UsageError("a daily budget needs frames that stay for a day", "give --keep-days 1 or more")
        if self.privacy is not None and self.precision is not None:
            raise UsageError("with noise, frames must not decide when to stop", "leave the precision out")
        if self.privacy is not None and self.rule.min_difference > 0:
            raise UsageError(
                "with noise, frames must not decide which frames are used",
                "give a smallest difference of 0, and skip by time",
            )


def store_of(output: Path) -> Path:
    """The store of the collector that writes ``output``."""
    return output.with_name(f"{output.name}.collecting")


def kept_folder_of(output: Path) -> Path:
    """The folder with the frames that the collector which writes ``output`` was asked to keep."""
    return output.with_name(f"{output.name}.frames")
