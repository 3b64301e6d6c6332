"""Collects statistics from a camera until it is told to stop, has enough, or the source ends."""

from __future__ import annotations

import contextlib
import datetime
import functools
import math
import shutil
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.blas_check import check_products
from multigraft.calibration.collect.kept_frames import KeptFrames
from multigraft.calibration.collect.sampler import MEMORY_BYTES, MINIBATCH, Sampler
from multigraft.calibration.collect.selection import FrameSelector, SelectionRule
from multigraft.calibration.collect.store import Cursor, Store
from multigraft.calibration.collect.tap_sample import FEATURES
from multigraft.calibration.collect.taps_runner import TappedModel
from multigraft.calibration.stop_signals import stop_signals
from multigraft.devices.cameras.camera import Camera, ShotCamera
from multigraft.devices.cameras.pi_camera import PiCamera
from multigraft.devices.cameras.serial_camera import SerialCamera
from multigraft.devices.cameras.v4l2_camera import V4l2Camera
from multigraft.devices.thermal import Thermal
from multigraft.errors import UsageError
from multigraft.runtime.backends import BackendName
from multigraft.runtime.memory import give_back_memory
from multigraft.statistics import statistics_file
from multigraft.statistics.statistics import MINIMUM_FRAMES, Statistics
from multigraft.tensors.preprocessing import Frame

STORE_SUFFIX = ".collecting"
KEPT_SUFFIX = ".frames"
LIVE = (PiCamera, SerialCamera, V4l2Camera)
"""Cameras whose frames do not come again."""

PRECISION_EVERY = 4
"""Minibatches between two computations of the precision."""

EXPORT_EVERY = 64
"""Minibatches between two times that the file is written while collecting."""

EXPORT_LEVEL = 1
"""Of zlib, for the file while collecting: frames wait. The last one is compressed well."""

LARGE_BYTES = 4 << 20
"""Of a model: from here on what a minibatch has freed is worth giving back before it is stored."""

EVENT_EVERY_S = 1.0

Reason = Literal["source ended", "frames reached", "minutes reached", "precision reached", "stopped"]


@dataclass(frozen=True)
class CollectOptions:
    """How to collect.

    Attributes:
        frames: Stop at so many frames in the statistics; None: never.
        minutes: Stop after so many minutes of collecting, all runs together.
        precision: Stop when the 95 % interval of every CKA is at most this much to each side.
        site: Where the device stands; the statistics are kept apart by it.
        minibatch: Frames per minibatch.
        memory_bytes: For what is kept of the representations of a minibatch.
        features: Per sample of a large tap; see :mod:`multigraft.calibration.collect.tap_sample`.
        minimum_frames: Below it no file is written.
        rule: Which frames are used.
        keep_frames: Store so many of the most uncertain frames.
        keep_bytes: Quota for them.
        keep_days: After which they are removed.
        threads: For the kernels.
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
    keep_frames: int = 0
    keep_bytes: int = 256 * 2**20
    keep_days: float = 7.0
    threads: int = 1
    backend: BackendName = "auto"

    def __post_init__(self) -> None:
        for name in ("frames", "minutes", "precision"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value}", "give a positive number")
        if not self.site.strip() or "/" in self.site:
            raise UsageError(f"the site is {self.site!r}", "give a name without a slash")


@dataclass(frozen=True)
class Event:
    """What is shown while collecting.

    Attributes:
        frames: In the statistics.
        pending: Run, but not in the statistics yet.
        skipped: Refused by the selection in this run.
        rate_hz: Frames used per second in this run.
        active_s: Time spent collecting, all runs.
        precision: Half width of the widest 95 % interval of a CKA; None while it is not known.
        temperature_c: Hottest zone.
        is_throttled: Whether the processor is slowed down.
        store_bytes: Size of the store.
        free_bytes: Free on its disk.
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


@dataclass(frozen=True)
class Collected:
    """How it ended.

    Attributes:
        statistics: All that the store holds.
        reason: Why it stopped.
        path: The file that was written; None if there are too few frames.
        used: Frames that this run added to the statistics.
        skipped: Frames refused in this run.
    """

    statistics: Statistics
    reason: Reason
    path: Path | None
    used: int
    skipped: int


Report = Callable[[Event], None]


def collect(
    bundle: Bundle,
    camera: Camera,
    output: Path,
    options: CollectOptions,
    report: Report = lambda event: None,
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
    model = TappedModel(bundle, options.threads, options.backend)
    sampler = Sampler(model, options.minibatch, options.memory_bytes, options.features, options.site)
    store_path = output.with_name(output.name + STORE_SUFFIX)
    with Store(store_path, sampler.subject, options.minimum_frames) as store, stop_signals() as stop, camera:
        for left in output.parent.glob(f".{output.name}.*"):
            # A file that was being written when its process was killed.
            left.unlink()
        run = _Run(store, sampler, camera, output, options, report, clock, thermal or Thermal(), len(bundle.model))
        return run.until(stop)


class _Run:
    def __init__(
        self, store: Store, sampler: Sampler, camera: Camera, output: Path, options: CollectOptions, report: Report,
        clock: Callable[[], float], thermal: Thermal, model_bytes: int,
    ) -> None:  # fmt: skip
        self._store, self._sampler, self._camera, self._output = store, sampler, camera, output
        self._options, self._report, self._clock, self._thermal = options, report, clock, thermal
        same = store.cursor.source == camera.name
        self._is_live = isinstance(camera, LIVE)
        self._start = store.cursor.frames_read if same and not self._is_live else 0
        self._selector = FrameSelector(options.rule, store.cursor.selection if same else None)
        self._active_before_s = store.cursor.active_s
        self._began_s = time.monotonic()
        self._kept: KeptFrames | None = None
        if options.keep_frames:
            self._kept = KeptFrames(
                output.with_name(output.name + KEPT_SUFFIX), options.keep_frames, options.keep_bytes,
                options.keep_days * 86400, store.kept.values(),
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
        held = self._store.statistics
        return Collected(held, reason, self._export(), held.frames - self._begun_with, self._selector.skipped)

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

    def _append(self, minibatch: Any) -> None:
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
            Event(
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
