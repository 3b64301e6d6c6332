"""Collects statistics from a camera until it is told to stop, has enough, or the source ends."""

from __future__ import annotations

import contextlib
import datetime
import functools
import math
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.blas_check import check_products
from multigraft.calibration.collect.collect_events import Collected, CollectEvent, OnCollectEvent, Reason
from multigraft.calibration.collect.collect_options import CollectOptions, store_of
from multigraft.calibration.collect.gathering import Gathering
from multigraft.calibration.collect.sampler import Sampler
from multigraft.calibration.collect.selection import FrameSelector
from multigraft.calibration.collect.store import Noising, Store
from multigraft.calibration.collect.store_facts import Cursor
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.calibration.stop_signals import stop_signals
from multigraft.calibration.views import Cutter, View, turn, views_of
from multigraft.devices.cameras.camera import Camera, ShotCamera
from multigraft.devices.cameras.sources import LIVE_CAMERAS
from multigraft.devices.thermal import Thermal
from multigraft.errors import InputError, UsageError
from multigraft.runtime.engine import Engine
from multigraft.statistics import statistics_file
from multigraft.statistics.noising import opendp
from multigraft.statistics.statistics import Minibatch
from multigraft.tensors.preparation import Frame

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

    A bundle whose networks look at crops gives a file for whole frames and one for each kind of crops
    (:mod:`multigraft.calibration.views`), with a store of its own.

    The store lies beside ``output``; the file itself is a release of the store, written at the end and every
    :data:`multigraft.calibration.collect.gathering.EXPORT_EVERY` minibatches, so that what was collected can be carried
    off at any time. It stays what it was where a new release would differ from it by sums over too few frames. A source
    of files is read on from where the store ends.

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
        UsageError: Another collector is at it, the store belongs to something else, ``output`` is no release of it, or
            noise was asked for where networks look at crops.
        MissingDependencyError: Noise was asked for, and OpenDP is not installed.
        DeviceError: The camera does not answer, the disk is full, or numpy multiplies wrongly.
        InputError: A frame cannot be used, or the store is damaged.
    """
    check_products()
    if options.privacy is not None:
        # Before the first frame, not after the last.
        opendp()
    views = views_of(bundle.manifest)
    if options.privacy is not None and len(views) > 1:
        crops = ",".join(view.tasks[0] for view in views[1:])
        raise UsageError(
            f"with noise, frames must not decide what is counted, and whether {crops} has a crop is up to the frame",
            f"prepare without crops: --tasks {','.join(views[0].tasks)}",
        )
    engine = Engine(bundle, options.threads, options.backend)
    samplers = _samplers(bundle, engine, views, options)
    noising = None if options.privacy is None else Noising(options.privacy, samplers[0].bounds)
    outputs = [view.output(output) for view in views]
    for path in outputs:
        if path.exists() and not store_of(path).exists():
            raise UsageError(
                f"{path} is there and the store that it came from is not, and what a new one adds could be told apart",
                "move it away, bring back its store, or give another output",
            )
    fixed = options.minimum_frames, options.minibatch, options.site
    with contextlib.ExitStack() as opened:
        stores = [
            opened.enter_context(Store(store_of(path), sampler.subject, *fixed, noising))
            for path, sampler in zip(outputs, samplers, strict=True)
        ]
        for path, store in zip(outputs, stores, strict=True):
            _check_release(path, store)
            for unfinished in path.parent.glob(f".{path.name}.*"):
                # A file that was being written when its process was killed.
                unfinished.unlink()
        stop = opened.enter_context(stop_signals())
        opened.enter_context(camera)
        gatherings = []
        for view, sampler, store, path in zip(views, samplers, stores, outputs, strict=True):
            cutter = Cutter(engine, view, sampler.most) if view.crops else None
            is_large = len(bundle.model) > LARGE_BYTES
            gatherings.append(Gathering(view, sampler, store, path, options, camera.name, cutter, is_large))
        run = _Run(gatherings, camera, options, samplers[0].takes_rows, report, clock, thermal or Thermal())
        return run.until(stop)


def _samplers(bundle: Bundle, engine: Engine, views: Sequence[View], options: CollectOptions) -> list[Sampler]:
    runners = [TapsRunner(bundle, options.threads, options.backend, view, engine) for view in views]
    samplers = []
    for runner in runners:
        beside = tuple(tap for other in runners if other is not runner for tap in other.taps)
        sizes = options.minibatch, options.memory_bytes, options.features
        is_bounded = options.privacy is not None
        samplers.append(Sampler(runner, *sizes, options.site, is_bounded=is_bounded, beside=beside))
    return samplers


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
        self, gatherings: Sequence[Gathering], camera: Camera, options: CollectOptions, takes_rows: bool,
        report: OnCollectEvent, clock: Callable[[], float], thermal: Thermal,
    ) -> None:  # fmt: skip
        self._gatherings, self._camera = gatherings, camera
        self._options, self._report, self._clock, self._thermal = options, report, clock, thermal
        self._is_live = isinstance(camera, LIVE_CAMERAS)
        cursors = [gathering.cursor for gathering in gatherings]
        # A source of files is read on from where the first of them ends; the others have seen some of what follows.
        self._starts = [0 if cursor is None or self._is_live else cursor.frames_read for cursor in cursors]
        self._start = min(self._starts)
        # Of a camera, whose past frames are gone, from where the last of them ended.
        begun = [cursor for cursor in cursors if cursor is not None]
        state = None
        if begun and self._is_live:
            state = max(begun, key=lambda cursor: cursor.active_s).selection
        elif len(begun) == len(cursors):
            state = min(begun, key=lambda cursor: cursor.frames_read).selection
        self._selector = FrameSelector(options.rule, state, takes_rows)
        self._active_before_s = max(gathering.store.cursor.active_s for gathering in gatherings)
        self._began_s = time.monotonic()
        self._used = 0
        self._read = self._start
        self._shown_s = -math.inf

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
            for gathering in self._gatherings:
                self._append(gathering, gathering.flush())
            reason = "source ended"
        self._show(last=True)
        return Collected(reason, self._selector.skipped, tuple(gathering.finish() for gathering in self._gatherings))

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
        number = self._read - 1
        view = turn(number, len(self._gatherings))
        if number < self._starts[view]:
            # It has been counted, and is read again for the sake of another view.
            return
        frame = fetch()
        gathering = self._gatherings[view]
        # What is counted is that of frames, whatever they were chosen by.
        minibatch = gathering.take(frame, signature if frame is seen else None, number, self._clock)
        self._used += 1
        self._append(gathering, minibatch)

    def _append(self, gathering: Gathering, minibatch: Minibatch | None) -> None:
        if minibatch is None:
            return
        day = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC).strftime("%Y-%m-%d")
        cursor = Cursor(self._camera.name, self._read, self._selector.state, self._active_s)
        gathering.append(minibatch, (self._options.site, day), cursor)

    @property
    def _frames(self) -> int:
        return sum(gathering.store.frames for gathering in self._gatherings)

    @property
    def _precision(self) -> float | None:
        """The widest of all views; None while that of one is not known."""
        known = [gathering.precision for gathering in self._gatherings]
        return None if None in known else max(p for p in known if p is not None)

    @property
    def _active_s(self) -> float:
        return self._active_before_s + time.monotonic() - self._began_s

    def _reached(self) -> Reason | None:
        options = self._options
        if options.frames is not None and self._frames >= options.frames:
            return "frames reached"
        if options.minutes is not None and self._active_s >= 60 * options.minutes:
            return "minutes reached"
        if options.precision is not None:
            enough = all(gathering.store.frames >= options.minimum_frames for gathering in self._gatherings)
            if enough and (precision := self._precision) is not None and precision <= options.precision:
                return "precision reached"
        return None

    def _show(self, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._shown_s < EVENT_EVERY_S:
            return
        self._shown_s = now
        stores = [gathering.store for gathering in self._gatherings]
        files = [path for store in stores for path in (store.path, Path(f"{store.path}-wal"))]
        self._report(
            CollectEvent(
                frames=self._frames,
                pending=sum(gathering.pending for gathering in self._gatherings),
                skipped=self._selector.skipped,
                rate_hz=self._used / max(1e-9, now - self._began_s),
                active_s=self._active_s,
                precision=self._precision,
                temperature_c=self._thermal.temperature_c(),
                is_throttled=self._thermal.is_throttled(),
                store_bytes=sum(path.stat().st_size for path in files if path.exists()),
                free_bytes=shutil.disk_usage(stores[0].path.parent).free,
                kept=sum(len(store.kept) for store in stores),
            )
        )


def _itself(frame: Frame) -> Frame:
    return frame
