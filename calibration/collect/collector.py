"""Collects statistics from a camera until it is told to stop, has enough, or the source ends."""

from __future__ import annotations

import contextlib
import datetime
import functools
import math
import shutil
import time
from collections.abc import Callable, Generator
from pathlib import Path

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.blas_check import check_products
from multigraft.calibration.collect.collect_events import Collected, CollectEvent, OnCollectEvent, Reason
from multigraft.calibration.collect.collect_options import CollectOptions, kept_folder_of, store_of
from multigraft.calibration.collect.kept_frames import KeptFrames
from multigraft.calibration.collect.sampler import Sampler
from multigraft.calibration.collect.selection import FrameSelector
from multigraft.calibration.collect.store import Noising, Store
from multigraft.calibration.collect.store_facts import Cursor
from multigraft.calibration.collect.tap_sample import DETAIL_EVERY
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.calibration.stop_signals import stop_signals
from multigraft.devices.cameras.camera import Camera, ShotCamera
from multigraft.devices.cameras.sources import LIVE_CAMERAS
from multigraft.devices.thermal import Thermal
from multigraft.errors import InputError, UsageError
from multigraft.runtime.memory import give_back_memory
from multigraft.statistics import statistics_file
from multigraft.statistics.noising import opendp
from multigraft.statistics.statistics import Minibatch
from multigraft.tensors.preparation import Frame

PRECISION_EVERY = 4
"""Minibatches between two computations of the precision."""

EXPORT_EVERY = 64
"""A release is made whenever the whole run has a multiple of so many minibatches: a run that was killed makes the same
ones as one that was not."""

EXPORT_LEVEL = 1
"""The level of zlib's compression for the file while collecting: frames wait. The last one is compressed well."""

LARGE_BYTES = 4 << 20
"""The size of a model from which on what a minibatch has freed is worth giving back before it is stored."""

EVENT_EVERY_S = 1.0


def collect(
    bundle: Bundle,
    camera: Camera,
    output: Path,
    options: CollectOptions,
    report: OnCollectEvent = lambda event: None,
    *,
    clock: Callable[[], float] = time.time,
    thermal: Thermal | None = None,
) -> Collected:
    """Collect statistics; the same call resumes.

    The store lies beside ``output``; the file itself is a release of the store, written at the end and every
    :data:`EXPORT_EVERY` minibatches, so that what was collected can be carried off at any time. It stays what it was
    where a new release would differ from it by sums over too few frames. A source of files is read on from where the
    store ends.

    Args:
        bundle: From ``multigraft calibrate prepare``.
        camera: Not yet opened.
        output: The .mgstats file.
        options: How.
        report: Called about once a second.
        clock: Unix time in seconds.
        thermal: Where temperatures are read.

    Raises:
        BundleError: It is no taps bundle.
        UsageError: Another collector is at it, the store belongs to something else, or ``output`` is no release of it.
        MissingDependencyError: Noise was asked for, and OpenDP is not installed.
        DeviceError: The camera does not answer, the disk is full, or numpy multiplies wrongly.
        InputError: A frame cannot be used, or the store is damaged.
    """
    check_products()
    if options.privacy is not None:
        # Before the first frame, not after the last.
        opendp()
    runner = TapsRunner(bundle, options.threads, options.backend)
    sizes = options.minibatch, options.memory_bytes, options.features
    sampler = Sampler(runner, *sizes, options.site, is_bounded=options.privacy is not None)
    noising = None if options.privacy is None else Noising(options.privacy, sampler.bounds)
    path = store_of(output)
    if output.exists() and not path.exists():
        raise UsageError(
            f"{output} is there and the store that it came from is not, and what a new one adds could be told apart",
            "move it away, bring back its store, or give another output",
        )
    fixed = options.minimum_frames, options.minibatch, options.site
    with Store(path, sampler.subject, *fixed, noising) as store, stop_signals() as stop, camera:
        _check_release(output, store)
        for unfinished in output.parent.glob(f".{output.name}.*"):
            # A file that was being written when its process was killed.
            unfinished.unlink()
        run = _Run(store, sampler, camera, output, options, report, clock, thermal or Thermal(), len(bundle.model))
        return run.until(stop)


def _check_release(output: Path, store: Store) -> None:
    """Refuse if the file is no release that the store knows of, as with a store that was brought back from a copy."""
    if not output.exists():
        return
    try:
        releases = statistics_file.read(output).releases
    except InputError as error:
        raise UsageError(
            f"{output} is no release of its store: {error.problem}", "move it away, or give another output"
        ) from error
    if releases.keys() != {store.id} or releases[store.id].number > store.release.number:
        raise UsageError(
            f"{output} is no release that its store knows of: what the two differ by could be told apart",
            "bring back the store that wrote it, move it away, or give another output",
        )


class _Run:
    def __init__(
        self, store: Store, sampler: Sampler, camera: Camera, output: Path, options: CollectOptions,
        report: OnCollectEvent, clock: Callable[[], float], thermal: Thermal, model_bytes: int,
    ) -> None:  # fmt: skip
        self._store, self._sampler, self._camera, self._output = store, sampler, camera, output
        self._options, self._report, self._clock, self._thermal = options, report, clock, thermal
        same = store.cursor.source == camera.name
        self._is_live = isinstance(camera, LIVE_CAMERAS)
        self._start = store.cursor.frames_read if same and not self._is_live else 0
        rows = sampler.takes_rows
        self._selector = FrameSelector(options.rule, store.cursor.selection if same else None, rows)
        self._active_before_s = store.cursor.active_s
        self._began_s = time.monotonic()
        self._kept: KeptFrames | None = None
        if options.keep_frames:
            self._kept = KeptFrames(
                kept_folder_of(output), options.keep_frames, options.keep_bytes,
                options.keep_days * 86400, store.kept.values(), rows,
            )  # fmt: skip
        sampler.number = store.minibatches
        self._is_large = model_bytes > LARGE_BYTES
        self._used, self._begun_with = 0, store.frames
        self._read = self._start
        self._precision = store.precision()
        self._shown_s = -math.inf
        # It may have been killed between a minibatch and the release that is due after it.
        self._release_if_due()

    def until(self, stop: list[int]) -> Collected:
        reason = self._reached()
        if reason is None:
            with contextlib.closing(self._unread()) as unread:
                for seen, fetch in unread:
                    if stop:
                        reason = "stopped"
                        break
                    self._read += 1
                    self._look(seen, fetch)
                    if (reason := self._reached()) is not None:
                        break
                    self._show()
        if reason is None:
            # Of a source that ends, the rest counts too; of any other stop it is read again, or lost.
            self._append(self._sampler.flush())
            reason = "source ended"
        self._show(last=True)
        path, store = self._export(), self._store
        used = store.frames - self._begun_with
        return Collected(store.statistics, reason, path, store.release, self._missing(), used, self._selector.skipped)

    def _unread(self) -> Generator[tuple[Frame, Callable[[], Frame]], None, None]:
        """What the selection looks at, and how to get the frame."""
        camera = self._camera
        if isinstance(camera, ShotCamera) and self._options.rule.skips:
            with contextlib.closing(camera.shots()) as shots:
                for shot in shots:
                    yield shot.small, shot.frame
            return
        for position, frame in enumerate(camera):
            if position >= self._start:
                yield frame, functools.partial(_itself, frame)

    def _look(self, seen: Frame, fetch: Callable[[], Frame]) -> None:
        signature = self._selector.choose(seen, time.monotonic())
        if signature is None:
            return
        frame = fetch()
        # What is counted is that of frames, whatever they were chosen by.
        minibatch = self._sampler.add(frame, signature if frame is seen else None)
        self._used += 1
        if self._kept is not None:
            self._kept.offer(frame, self._sampler.margin(), self._read - 1, self._clock())
        self._append(minibatch)

    def _append(self, minibatch: Minibatch | None) -> None:
        if minibatch is None:
            return
        day = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC).strftime("%Y-%m-%d")
        cursor = Cursor(self._camera.name, self._read, self._selector.state, self._active_s)
        changes = self._kept.changes if self._kept is not None else ((), ())
        if self._is_large:
            give_back_memory()
        self._store.append(minibatch, (self._options.site, day), cursor, *changes)
        if self._kept is not None:
            self._kept.confirm()
        if self._store.minibatches % PRECISION_EVERY == 0:
            self._precision = self._store.precision()
        self._release_if_due()

    def _release_if_due(self) -> None:
        number = self._store.minibatches
        if number and number % EXPORT_EVERY == 0 and number != self._store.released_upto:
            self._export(EXPORT_LEVEL)

    @property
    def _active_s(self) -> float:
        return self._active_before_s + time.monotonic() - self._began_s

    def _reached(self) -> Reason | None:
        options = self._options
        if options.frames is not None and self._store.frames >= options.frames:
            return "frames reached"
        if options.minutes is not None and self._active_s >= 60 * options.minutes:
            return "minutes reached"
        enough = self._store.frames >= options.minimum_frames
        if options.precision is not None and enough and self._precision is not None:
            return "precision reached" if self._precision <= options.precision else None
        return None

    def _export(self, level: int = 6) -> Path | None:
        """Make the next release if there is enough for one, and see that the file is the last one."""
        self._store.advance(level)
        content = self._store.released_content()
        if content is None:
            return None
        if self._output.is_file() and self._output.read_bytes() == content:
            return self._output
        return statistics_file.write_content(content, self._output)

    def _missing(self) -> int:
        lack = self._store.missing()
        return 0 if lack is None else lack.frames * (1 if lack.cell == "all" else DETAIL_EVERY)

    def _show(self, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._shown_s < EVENT_EVERY_S:
            return
        self._shown_s = now
        store = self._store
        sizes = [p.stat().st_size for p in (store.path, Path(f"{store.path}-wal")) if p.exists()]
        self._report(
            CollectEvent(
                frames=store.frames,
                pending=self._sampler.pending,
                skipped=self._selector.skipped,
                rate_hz=self._used / max(1e-9, now - self._began_s),
                active_s=self._active_s,
                precision=self._precision,
                temperature_c=self._thermal.temperature_c(),
                is_throttled=self._thermal.is_throttled(),
                store_bytes=sum(sizes),
                free_bytes=shutil.disk_usage(store.path.parent).free,
                kept=len(store.kept),
            )
        )


def _itself(frame: Frame) -> Frame:
    return frame
