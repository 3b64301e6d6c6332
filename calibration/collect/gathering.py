"""One view's part of collecting: its samples, its store, its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from multigraft.calibration.collect.collect_events import Gathered
from multigraft.calibration.collect.collect_options import CollectOptions, kept_folder_of
from multigraft.calibration.collect.frame_quality import Signature
from multigraft.calibration.collect.kept_frames import DAY_S, KeptFrames
from multigraft.calibration.collect.sampler import Sampler
from multigraft.calibration.collect.store import Store
from multigraft.calibration.collect.store_facts import Cursor
from multigraft.calibration.collect.tap_sample import DETAIL_EVERY
from multigraft.calibration.views import Cutter, View
from multigraft.runtime.memory import give_back_memory
from multigraft.statistics import statistics_file
from multigraft.statistics.statistics import Minibatch, Place
from multigraft.tensors.preparation import Frame

PRECISION_EVERY = 4
"""Minibatches between two computations of the precision."""

EXPORT_EVERY = 64
"""A release is made whenever the whole run has a multiple of so many minibatches: a run that was killed makes the same
ones as one that was not."""

EXPORT_LEVEL = 1
"""The level of zlib's compression for the file while collecting: frames wait. The last one is compressed well."""


class Gathering:
    """Gathers what one view sees.

    Args:
        view: What its networks look at.
        sampler: Runs them.
        store: Open; where it ends is where gathering begins.
        output: The .mgstats file.
        options: How.
        source: Name of the source.
        cutter: Cuts crops out; None for whole frames.
        is_large: Whether what a minibatch has freed is worth giving back before it is stored.

    Attributes:
        view: As given.
        store: As given.
        precision: Half width of the widest 95 % interval of a CKA, as computed last; None while it is not known.
    """

    def __init__(
        self, view: View, sampler: Sampler, store: Store, output: Path, options: CollectOptions, source: str,
        cutter: Cutter | None, is_large: bool,
    ) -> None:  # fmt: skip
        self.view, self.store, self._sampler, self._output = view, store, sampler, output
        self._options, self._source, self._cutter, self._is_large = options, source, cutter, is_large
        self._kept: KeptFrames | None = None
        if options.keep_frames:
            self._kept = KeptFrames(
                kept_folder_of(output), options.keep_frames, options.keep_bytes,
                options.keep_days * DAY_S, store.kept.values(), sampler.takes_rows, options.keep_daily_bytes,
            )  # fmt: skip
        sampler.number = store.minibatches
        self._begun_with = store.frames
        self.precision = store.precision()
        # It may have been killed between a minibatch and the release that is due after it.
        self._release_if_due()

    @property
    def cursor(self) -> Cursor | None:
        """How far gathering from this source had come with the last minibatch; None where there is none of it."""
        return self.store.cursor if self.store.cursor.source == self._source else None

    @property
    def pending(self) -> int:
        """Frames, or crops, of the minibatch that is being gathered."""
        return self._sampler.pending

    def take(
        self, frame: Frame, signature: Signature | None, number: int, clock: Callable[[], float]
    ) -> Minibatch | None:
        """Run the networks on a frame, or on what is found in it; the minibatch that it completes, or None.

        Args:
            frame: A picture (uint8, HxW or HxWx3), or a row.
            signature: The frame's signature, where it is known.
            number: Number of the frame in its source.
            clock: Gives Unix time in seconds.

        Raises:
            InputError: A frame or a network's output cannot be used.
            DeviceError: The disk is full.
        """
        if self._cutter is None:
            minibatch = self._sampler.add(frame, signature)
            looked_at = [frame]
        else:
            looked_at = self._cutter.crops(frame)
            minibatch = self._sampler.add_crops(looked_at)
        if self._kept is not None:
            last = len(looked_at) - 1
            low, high = self._options.keep_entropy or (0.0, 1.0)
            doubts = [self._sampler.doubt(last - place) for place in range(last + 1)]
            wanted = [(margin, place) for place, (margin, entropy) in enumerate(doubts) if low <= entropy <= high]
            if wanted:
                margin, least = min(wanted)
                self._kept.offer(looked_at[least], margin, number, clock())
        return minibatch

    def flush(self) -> Minibatch | None:
        """What is left at the end of a source."""
        return self._sampler.flush()

    def append(self, minibatch: Minibatch, place: Place, cursor: Cursor) -> None:
        """Store a minibatch, and make the release that is due after it.

        Raises:
            DeviceError: The disk is full.
        """
        changes = self._kept.changes if self._kept is not None else ((), ())
        if self._is_large:
            give_back_memory()
        self.store.append(minibatch, place, cursor, *changes)
        if self._kept is not None:
            self._kept.confirm()
        if self.store.minibatches % PRECISION_EVERY == 0:
            self.precision = self.store.precision()
        self._release_if_due()

    def _release_if_due(self) -> None:
        number = self.store.minibatches
        if number and number % EXPORT_EVERY == 0 and number != self.store.released_upto:
            self._export(EXPORT_LEVEL)

    def _export(self, level: int = 6) -> Path | None:
        """Make the next release if there is enough for one, and see that the file is the last one."""
        self.store.advance(level)
        content = self.store.released_content()
        if content is None:
            return None
        if self._output.is_file() and self._output.read_bytes() == content:
            return self._output
        return statistics_file.write_content(content, self._output)

    def _missing(self) -> int:
        lack = self.store.missing()
        if lack is None:
            return 0 if self.store.frames else self._options.minimum_frames * DETAIL_EVERY
        return lack.frames * (1 if lack.cell in ("all", "compared") else DETAIL_EVERY)

    def finish(self) -> Gathered:
        """Make the last release; what there is now."""
        path, store = self._export(), self.store
        used = store.frames - self._begun_with
        return Gathered(self.view, store.statistics, path, self._output, store.release, self._missing(), used)
