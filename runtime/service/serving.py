"""``multigraft serve``: puts the parts together and runs them until the service is told to end."""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from multigraft.devices.cameras.camera import Camera
from multigraft.errors import (
    BundleError,
    ConfigurationError,
    InputError,
    MissingDependencyError,
    MultigraftError,
    UsageError,
)
from multigraft.runtime import heap
from multigraft.runtime.deploy import store, trial
from multigraft.runtime.engine import Engine
from multigraft.runtime.mqtt.publisher import Publisher
from multigraft.runtime.offload.offloading import Offloading
from multigraft.runtime.otlp.environment import is_wanted
from multigraft.runtime.scheduling.budget import FACTORS
from multigraft.runtime.service.asked import Requests
from multigraft.runtime.service.closed_exits import ClosedExits
from multigraft.runtime.service.figures import Figures
from multigraft.runtime.service.frames import Frames, Pace
from multigraft.runtime.service.front import listen
from multigraft.runtime.service.journal import INFO, NOTICE, WARNING, Journal
from multigraft.runtime.service.loop import Loop
from multigraft.runtime.service.notify import Notifier
from multigraft.runtime.service.offloaded import Offloaded
from multigraft.runtime.service.power import Power
from multigraft.runtime.service.scheduled import Schedule, ScheduledLoop, schedule_of
from multigraft.runtime.service.settings import Settings, token_of, token_path
from multigraft.runtime.service.stopping import Stop, orderly
from multigraft.runtime.service.vitals import Vitals, memory_bytes
from multigraft.runtime.service.window import STALE_S, Window

AGAIN = 75
"""EX_TEMPFAIL of sysexits.h: the service ends so that it is started again."""
SETTLED_S = 120.0
SETTLED_FRAMES = 20
"""A bundle on trial has served well after both."""
RETRY_S = 600.0
"""So often a bundle is tried again whose start could not be counted."""
BASELINE_S = 300.0
MEMORY_SLACK = 64 << 20

Connect = Callable[[Engine, "tuple[str, ...] | None"], "Offloading | None"]
"""Engine and tasks to what asks a server for hard frames; None where none is asked."""

OpenCameras = Callable[[Engine, "tuple[str, ...] | None"], Mapping[tuple[str, ...], Camera]]


def serve(settings: Settings, open_cameras: OpenCameras, connect: Connect = lambda engine, tasks: None) -> int:
    """Serve until SIGTERM, SIGINT, or a reason to start again.

    Args:
        settings: What to serve, and how.
        open_cameras: Makes tasks' cameras, not yet open, for an engine and its tasks; no tasks to one that is for all.
        connect: Makes what asks a server.

    Returns:
        The exit code: 0, or :data:`AGAIN`.

    Raises:
        ConfigurationError: What was asked for cannot work, however often it is started.
        MultigraftError: It may work when it is started again.
    """
    # On SIGABRT, which systemd's watchdog sends, the log gets what every thread was doing.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        faulthandler.enable()
    journal, notifier = Journal(), Notifier()
    with _configured():
        token = token_of(settings.listen, settings.state, settings.token_file)
    with orderly(settings, journal) as stop:
        switch = store.switch_of(settings.state)
        folder = stop.folder = _folder(settings, journal)
        code = _serve(settings, open_cameras, connect, folder, switch, token, journal, notifier, stop)
        stop.is_orderly = code == 0
    return code


def _serve(
    settings: Settings,
    open_cameras: OpenCameras,
    connect: Connect,
    folder: Path,
    switch: tuple[int, int] | None,
    token: str | None,
    journal: Journal,
    notifier: Notifier,
    stop: Stop,
) -> int:
    engine = _engine(settings, folder)
    with _configured():
        tasks = settings.tasks
        for name in tasks or ():
            engine.manifest.task(name)
        schedule = schedule_of(settings, engine.manifest, folder)
        cameras = open_cameras(engine, tasks)
        offloading = connect(engine, tasks)
    sha256 = folder.name if settings.bundle is None else digest_of(folder)
    journal.fields |= {"BUNDLE": sha256[:12], "NAME": engine.manifest.name}
    figures = Figures(engine.manifest, tasks)
    figures.exits = engine.exits_to_json
    closed = ClosedExits(settings.state, sha256, engine.gates, journal)
    requests = Requests(engine, figures.requests)
    frames = Frames(cameras, say=_camera_teller(journal))

    def lost_sensor(sentence: str) -> None:
        figures.errors["sensor"] += 1
        journal.write(WARNING, "sensor_lost", f"the power meter stopped answering: {sentence}")

    def front_ended(sentence: str) -> None:
        figures.errors["http"] += 1
        journal.write(WARNING, "http_ended", sentence)

    with contextlib.ExitStack() as stack:
        vitals = Vitals(Power(fail=lost_sensor))
        window = None
        exports = is_wanted()
        if settings.listen is not None or exports:
            with _configured((MissingDependencyError,)):
                listening = None if settings.listen is None else listen(settings.listen)
            events = ("collector_back", "collector_lost")
            collector_told = _peer_teller(journal, figures, "otlp", events, "OpenTelemetry", "it is tried again")
            window = stack.enter_context(
                Window(
                    listening,
                    bundle={"name": engine.manifest.name, "sha256": sha256},
                    source=frames.name,
                    manifest=engine.manifest,
                    figures=figures,
                    vitals=vitals,
                    requests=requests,
                    cameras=frames.to_json,
                    token=token,
                    say=front_ended,
                    exported=collector_told if exports else None,
                    stale_s=_stale_s(settings, schedule),
                )
            )
        trial_of = Settling(settings, folder, figures, journal)
        pace = Pace(settings.rate_hz if schedule is None else None)

        def each_frame() -> None:
            trial_of.look()
            closed.after_frame()

        parts = (engine, tasks, frames, pace, figures, requests, window, notifier, journal, each_frame)
        loop = Loop(*parts) if schedule is None else ScheduledLoop(schedule, *parts)
        if offloading is not None:
            loop.offloaded = Offloaded(offloading, journal)
            figures.offload = loop.offloaded.to_json
            stack.callback(loop.offloaded.close)
        if settings.broker is not None:
            with _configured((MissingDependencyError,)):
                publisher = Publisher(
                    settings.broker,
                    engine.manifest,
                    tasks,
                    sha256,
                    settings.state,
                    _figures_teller(figures, vitals, frames),
                    _peer_teller(
                        journal, figures, "mqtt", ("broker_back", "broker_lost"), "MQTT", "it is looked for again"
                    ),
                    settings.calm,
                )
            figures.broker, loop.answered = publisher.to_json, publisher.answered
            stack.callback(publisher.stop)
            publisher.start()
        watch = Watch(settings, folder, switch, figures, journal, loop.end)

        def each_second() -> None:
            watch.look()
            closed.look()
            loop.look(vitals.to_json())

        vitals.each = each_second
        with stop.ends(loop):
            stack.callback(vitals.stop)
            vitals.start()
            stack.callback(frames.stop)
            frames.start()
            where = "" if settings.listen is None else f" at http://{settings.listen}"
            if (path := token_path(settings.listen, settings.state, settings.token_file)) is not None:
                where += f" to who has the token in {path}"
            heap.settle()
            is_fast = engine.model.has_delegate()
            xnnpack = {True: "on", False: "off", None: "unknown"}[is_fast]
            said = f"{engine.manifest.name} ({sha256[:12]}) serves {frames.name}{where}, XNNPACK is {xnnpack}"
            journal.write(WARNING if is_fast is False else INFO, "started", said, xnnpack=xnnpack)
            if engine.fallback_reason is not None:
                journal.write(WARNING, "fallback", engine.fallback_reason)
            notifier.ready(loop.status())
            code = loop.run()
        notifier.stopping()
        journal.write(INFO, "stopped", f"{figures.frames} frames were answered, {frames.dropped} dropped")
    return code


class Settling:
    """Tells the state folder when a bundle on trial has served well.

    Args:
        settings: Whose state folder.
        folder: The bundle.
        figures: How it does.
        journal: The log.
    """

    def __init__(self, settings: Settings, folder: Path, figures: Figures, journal: Journal) -> None:
        self._settings, self._folder, self._figures, self._journal = settings, folder, figures, journal
        self._is_done = settings.bundle is not None

    def look(self) -> None:
        """After a frame."""
        if self._is_done or self._figures.frames < SETTLED_FRAMES or self._figures.uptime_s < SETTLED_S:
            return
        self._is_done = True
        try:
            trial.settled(self._settings.state, self._folder)
        except OSError as error:
            self._journal.write(WARNING, "not_settled", f"that the bundle serves well cannot be noted: {error}")


class Watch:
    """Looks, once a second, for reasons to start again: too much memory, another bundle.

    Args:
        settings: Limits, and the state folder.
        folder: The bundle that is served.
        switch: What :func:`~multigraft.runtime.deploy.store.switch_of` gave before that bundle was chosen.
        figures: How it does.
        journal: The log.
        end: Ends the loop with an exit code.
        memory: Bytes in use.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        switch: tuple[int, int] | None,
        figures: Figures,
        journal: Journal,
        end: Callable[[int], None],
        memory: Callable[[], int] = memory_bytes,
    ) -> None:
        self._settings, self._folder, self._figures, self._journal = settings, folder, figures, journal
        self._end, self._memory = end, memory
        self._switch, self._next_try_s = switch, RETRY_S
        self._limit = settings.most_memory_bytes
        self._is_done = False

    def look(self) -> None:
        """Once a second."""
        if self._is_done:
            return
        used = self._memory()
        if self._limit is None and self._figures.uptime_s > BASELINE_S and self._figures.frames:
            self._limit = 2 * used + MEMORY_SLACK
        if self._limit is not None and used > self._limit:
            self._again("memory", f"{used >> 20} MiB of memory are in use, and {self._limit >> 20} MiB may be")
        elif self._settings.bundle is None:
            self._look_at_current(self._settings.state)

    def _look_at_current(self, state: Path) -> None:
        now = store.current(state)
        if now is None or now.name == self._folder.name:
            return
        if store.switch_of(state) != self._switch:
            self._again("deployed", f"bundle {now.name[:12]} was deployed")
        elif self._figures.uptime_s > self._next_try_s:
            # It was there at the start, but its start could not be counted (a full disk), or it was damaged.
            self._next_try_s += RETRY_S
            if trial.can_be_noted(state):
                self._again("deployed", f"bundle {now.name[:12]} can be tried now")

    def _again(self, event: str, why: str) -> None:
        self._is_done = True
        self._journal.write(NOTICE, event, f"{why}; the service ends to be started again")
        self._end(AGAIN)


def digest_of(bundle: Path) -> str:
    """SHA-256 of a .graft file; of a deployed folder, its name where that is one, else of its manifest."""
    if bundle.is_dir():
        name = bundle.resolve().name
        if len(name) == 64 and not set(name) - set("0123456789abcdef"):
            return name
        bundle = bundle / "manifest.json"
    with bundle.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(settings: Settings, journal: Journal) -> Path:
    """The bundle; one that was deployed is on trial from here on, until it has settled."""
    if settings.bundle is not None:
        return settings.bundle
    with _configured():
        return trial.starting(settings.state, lambda said: journal.write(WARNING, "bundle_replaced", said))


def _engine(settings: Settings, folder: Path) -> Engine:
    def made() -> Engine:
        return Engine(folder, settings.threads, settings.backend, settings.self_test, settings.untrusted)

    if settings.bundle is not None:
        with _configured():
            return made()
    try:
        with _configured((MissingDependencyError, UsageError)):
            return made()
    except (BundleError, InputError) as error:
        # This start is counted: after a few of them the bundle before is served.
        raise MultigraftError(error.problem, error.remedy) from error


@contextlib.contextmanager
def _configured(
    kinds: tuple[type[MultigraftError], ...] = (BundleError, InputError, MissingDependencyError, UsageError),
) -> Iterator[None]:
    """What fails here fails at every start."""
    try:
        yield
    except kinds as error:
        raise ConfigurationError(error.problem, error.remedy) from error


def _stale_s(settings: Settings, schedule: Schedule | None) -> float:
    if schedule is not None:
        slowest = min(FACTORS) * max(rate.rate_hz for rate in schedule.rates)
        return max(STALE_S, float(3 / slowest))
    return max(STALE_S, 3 / settings.rate_hz) if settings.rate_hz else STALE_S


def _camera_teller(journal: Journal) -> Callable[[bool, str], None]:
    def tell(is_up: bool, sentence: str) -> None:
        journal.write(NOTICE if is_up else WARNING, "camera_back" if is_up else "camera_lost", sentence)

    return tell


def _peer_teller(
    journal: Journal, figures: Figures, kind: str, events: tuple[str, str], name: str, then: str
) -> Callable[[bool, str], None]:
    """Tells of a broker or a collector that comes and goes, and counts what was lost.

    Args:
        journal: Is told.
        figures: Counts errors.
        kind: Of these errors.
        events: That it is back, and that it is lost.
        name: What it speaks.
        then: What happens when it is lost.
    """

    def tell(is_up: bool, sentence: str) -> None:
        if is_up:
            journal.write(NOTICE, events[0], f"{name}: {sentence}")
        else:
            figures.errors[kind] += 1
            journal.write(WARNING, events[1], f"{name}: {sentence.rstrip('.')}; {then}")

    return tell


def _figures_teller(figures: Figures, vitals: Vitals, frames: Frames) -> Callable[[], Mapping[str, Any] | None]:
    def told() -> Mapping[str, Any] | None:
        if not vitals.is_known:
            return None
        return {**vitals.to_json(), "rate_hz": figures.rate_hz, "camera": frames.is_up}

    return told
