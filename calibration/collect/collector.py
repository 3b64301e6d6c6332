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

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.blas_check import check_products
from multigraft.calibration.collect.collect_events import Collected, CollectEvent, OnCollectEvent, Reason
from multigraft.calibration.collect.collect_options import CollectOptions, kept_folder_of, store_of
from multigraft.calibration.collect.kept_frames import KeptFrames
from multigraft.calibration.collect.sampler import Sampler
from multigraft.calibration.collect.selection import FrameSelector
from multigraft.calibration.collect.store import Cursor, Store
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.calibration.stop_signals import stop_signals
from multigraft.devices.cameras.camera import Camera, ShotCamera
from multigraft.devices.cameras.sources import LIVE_CAMERAS
from multigraft.devices.thermal import Thermal
from multigraft.runtime.memory import give_back_memory
from multigraft.statistics import statistics_file
from multigraft.statistics.statistics import Minibatch
from multigraft.tensors.preparation import Frame

PRECISION_EVERY = 4
"""Minibatches between two computations of the precision."""

EXPORT_EVERY = 64
"""Minibatches between two times that the file is written while collecting."""

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

    The store lies beside ``output``; the file itself is written at the end and at each checkpoint, so that what was
    collected can be carried off at any time. A source of files is read on from where the store ends.

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
        UsageError: Another collector is at it, or the store belongs to something else.
        DeviceError: The camera does not answer, the disk is full, or numpy multiplies wrongly.
        InputError: A frame cannot be used, or the store is damaged.
    """
    check_products()
    runner = TapsRunner(bundle, options.threads, options.backend)
    sampler = Sampler(runner, options.minibatch, options.memory_bytes, options.features, options.site)
    with Store(store_of(output), sampler.subject, options.minimum_frames) as store, stop_signals() as stop, camera:
        for unfinished in output.parent.glob(f".{output.name}.*"):
            # A file that was being written when its process was killed.
            unfinished.unlink()
        run = _Run(store, sampler, camera, output, options, report, clock, thermal or Thermal(), len(bundle.model))
        return run.until(stop)


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
        sampler.number = store.statistics.overall.minibatches
        self._is_large = model_bytes > LARGE_BYTES
        self._used, self._begun_with = 0, store.statistics.frames
        self._read = self._start
        self._precision = self._measured_precision()
        self._shown_s = -math.inf
        self._checkpointed = store.statistics.overall.minibatches

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
        statistics = self._store.statistics
        used = statistics.frames - self._begun_with
        return Collected(statistics, reason, self._export(), used, self._selector.skipped)

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
        number = self._store.statistics.overall.minibatches
        if number % PRECISION_EVERY == 0:
            self._precision = self._measured_precision()
        if number - self._checkpointed >= EXPORT_EVERY:
            self._checkpointed = number
            self._export(EXPORT_LEVEL)

    @property
    def _active_s(self) -> float:
        return self._active_before_s + time.monotonic() - self._began_s

    def _measured_precision(self) -> float | None:
        widths = self._store.statistics.precision()
        return None if widths is None else float(np.max(widths))

    def _reached(self) -> Reason | None:
        options = self._options
        if options.frames is not None and self._store.statistics.frames >= options.frames:
            return "frames reached"
        if options.minutes is not None and self._active_s >= 60 * options.minutes:
            return "minutes reached"
        enough = self._store.statistics.frames >= options.minimum_frames
        if options.precision is not None and enough and self._precision is not None:
            return "precision reached" if self._precision <= options.precision else None
        return None

    def _export(self, level: int = 6) -> Path | None:
        if self._store.statistics.detailed_frames < self._options.minimum_frames:
            return None
        return statistics_file.write(self._store.statistics, self._output, level)

    def _show(self, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._shown_s < EVENT_EVERY_S:
            return
        self._shown_s = now
        store = self._store
        sizes = [p.stat().st_size for p in (store.path, Path(f"{store.path}-wal")) if p.exists()]
        self._report(
            CollectEvent(
                frames=store.statistics.frames,
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
