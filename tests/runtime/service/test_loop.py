"""The loop's parts: cameras that hang, vanish and come back, frames that are dropped, requests that have to wait."""

from __future__ import annotations

import errno
import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pytest

from multigraft.devices.cameras import returning
from multigraft.devices.file_sources import SourceWithoutDevice
from multigraft.devices.power.fake_meter import FakeMeter
from multigraft.errors import DeviceError, InputError
from multigraft.runtime import Engine
from multigraft.runtime.service.asked import MOST_WAITING, Asked, Requests
from multigraft.runtime.service.figures import Figures
from multigraft.runtime.service.frames import Frames, Pace
from multigraft.runtime.service.journal import Journal
from multigraft.runtime.service.loop import WAIT_S, Loop
from multigraft.runtime.service.notify import Notifier
from multigraft.runtime.service.power import Power
from multigraft.runtime.service.serving import Settling, Watch
from multigraft.runtime.service.settings import Settings
from multigraft.tensors.preprocessing import Frame
from tests.bundle_builder import build
from tests.runtime.service.served import until

FRAME = np.zeros((28, 28), np.uint8)


class Eye(SourceWithoutDevice):
    """A camera that does what it is told: gives a frame, fails, or hangs."""

    name = "eye"

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)
        self.is_broken = False

    def __enter__(self) -> Self:
        if self.is_broken:
            raise DeviceError("there is no eye", "plug it in")
        return self

    def __iter__(self) -> Iterator[Frame]:
        while True:
            self.allowed.acquire()
            if self.is_broken:
                raise DeviceError("the eye is closed", "open it")
            yield FRAME


class Counting(Notifier):
    """Counts how often the watchdog was fed."""

    fed = 0

    def alive(self) -> None:
        self.fed += 1


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(build().bundle)


@pytest.fixture
def running(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Eye, Frames, Counting, Figures]]:
    monkeypatch.setattr(returning, "FIRST_S", 0.05)
    monkeypatch.setattr(returning, "LONGEST_S", 0.2)
    eye, notifier = Eye(), Counting({})
    figures = Figures(engine.manifest, ("garment", "digit"))
    frames = Frames({(): eye}, lambda _: True)
    requests = Requests(engine, figures.requests)
    loop = Loop(engine, None, frames, Pace(None), figures, requests, None, notifier, Journal())
    thread = threading.Thread(target=loop.run)
    frames.start()
    thread.start()
    yield eye, frames, notifier, figures
    loop.end(0)
    eye.allowed.release()
    thread.join()
    frames.stop()


def test_the_watchdog_is_not_fed_while_the_camera_hangs(
    running: tuple[Eye, Frames, Counting, Figures],
) -> None:
    eye, _, notifier, figures = running
    eye.allowed.release()
    until(lambda: figures.frames == 1)
    until(lambda: notifier.fed >= 1)
    fed, rounds = notifier.fed, threading.Event()
    rounds.wait(6 * WAIT_S)
    assert notifier.fed == fed


def test_the_watchdog_is_fed_while_the_camera_is_looked_for(
    running: tuple[Eye, Frames, Counting, Figures],
) -> None:
    eye, frames, notifier, figures = running
    eye.allowed.release()
    until(lambda: figures.frames == 1)
    eye.is_broken = True
    eye.allowed.release()
    until(lambda: frames.losses == 1 and not frames.is_up)
    fed, steps = notifier.fed, frames.cameras[()].steps
    until(lambda: notifier.fed > fed + 3 and frames.cameras[()].steps > steps + 3)
    assert frames.losses == 1
    assert "there is no eye" in frames.reason
    eye.is_broken = False
    eye.allowed.release(2)
    until(lambda: figures.frames >= 2 and frames.is_up)


def test_frames_that_nobody_takes_are_dropped_and_counted() -> None:
    eye = Eye()
    frames = Frames({(): eye}, lambda _: True)
    frames.start()
    eye.allowed.release(5)
    until(lambda: frames.cameras[()].steps == 5)
    assert frames.dropped == 4
    assert frames.take(0.0)[0] and not frames.take(0.0)[0]
    eye.is_broken = True
    eye.allowed.release()
    frames.stop()


def test_files_wait_and_begin_again_at_their_end() -> None:
    class Film(Eye):
        def __iter__(self) -> Iterator[Frame]:
            yield from (np.full((2, 2), number, np.uint8) for number in range(3))

    frames = Frames({(): Film()})
    frames.start()
    seen = [int(frames.take(60)[1][0, 0]) for _ in range(7)]
    frames.stop()
    assert seen == [0, 1, 2, 0, 1, 2, 0]
    assert frames.dropped == 0 and frames.losses == 0


class Failing(Eye):
    """Cannot be opened."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def __enter__(self) -> Self:
        raise self._error


def test_a_camera_that_cannot_be_configured_is_not_looked_for_again() -> None:
    said: list[tuple[bool, str]] = []
    frames = Frames(
        {(): Failing(InputError("no such thing", "name another"))}, lambda _: True, lambda *told: said.append(told)
    )
    frames.start()
    until(lambda: frames.fatal is not None)
    frames.stop()
    assert said == []
    other = Frames({(): Failing(ValueError("never seen"))}, lambda _: True, lambda *told: said.append(told))
    other.start()
    until(lambda: other.cameras[()].is_pausing)
    assert other.fatal is None and other.reason == "never seen."
    other.stop()
    assert said == [(False, "never seen; looking again in 0.5 s")]


def asked(answers: list[dict[str, Any]]) -> Asked:
    return Asked("digit", {"image": np.zeros((1, 28, 28, 1), np.int8)}, ("digit/out",), answers.append)


def test_more_requests_than_may_wait_are_told_to_come_again(engine: Engine) -> None:
    counts: Counter[str] = Counter()
    requests, answers = Requests(engine, counts), list[dict[str, Any]]()
    for _ in range(MOST_WAITING + 2):
        requests.put(asked(answers))
    assert answers == [{"busy": True}] * 2
    while requests.serve(lambda: False):
        pass
    assert len(answers) == MOST_WAITING + 2
    assert counts == {"busy": 2, "answered": MOST_WAITING}


def test_frames_come_before_requests_and_leave_them_a_part(engine: Engine) -> None:
    now = itertools.count()
    requests, answers = Requests(engine, Counter(), lambda: float(next(now))), list[dict[str, Any]]()
    for _ in range(MOST_WAITING):
        requests.put(asked(answers))
    served = []
    for _ in range(35):
        requests.earned(1.0)
        served.append(requests.serve(lambda: True))
    # A request takes as long as a frame, and the first is taken on trust: then one in twenty, then one in ten frames.
    assert served[0] and 2 <= sum(served) <= 4
    assert requests.serve(lambda: False)


def test_a_request_that_the_engine_refuses_is_answered(engine: Engine) -> None:
    requests, answers = Requests(engine, Counter()), list[dict[str, Any]]()
    requests.put(Asked("test", {"frame": np.zeros((2, 2, 7), np.uint8)}, ("digit",), answers.append))
    requests.serve(lambda: False)
    assert "refused" in answers[0]


def test_energy_goes_on_where_it_was_when_a_sensor_comes_back() -> None:
    now = [0.0]

    class Flaky(FakeMeter):
        is_gone = False

        def energy_j(self) -> float:
            if self.is_gone:
                raise DeviceError("the sensor is gone", "plug it in")
            return super().energy_j()

    meters: list[Flaky] = []

    def find() -> tuple[Flaky | None, str]:
        meters.append(Flaky(2000.0, None, lambda: now[0]))
        return meters[-1], ""

    said: list[str] = []
    power = Power(find, lambda: now[0], said.append)
    now[0] = 3.0
    assert [(r.joules, r.watts) for r in power.read()] == [(6.0, 2.0)]
    meters[0].is_gone = True
    assert power.read() == [] and len(said) == 1
    now[0] = 10.0
    assert power.read() == [] and len(meters) == 1
    now[0] = 100.0
    power.read()
    assert len(meters) == 2
    now[0] = 101.0
    reading = power.read()[0]
    assert (reading.joules, reading.watts) == (8.0, 2.0)
    power.close()


def test_whatever_a_sensor_fails_with_is_said_and_ends_nothing() -> None:
    class Odd(FakeMeter):
        def energy_j(self) -> float:
            raise ZeroDivisionError

    said: list[str] = []
    power = Power(lambda: (Odd(2000.0), ""), fail=said.append)
    assert power.read() == [] and said == ["ZeroDivisionError"]

    def damaged() -> tuple[FakeMeter | None, str]:
        raise InputError("pmic-fit.json holds no calibration", "calibrate again")

    assert Power(damaged, fail=said.append).read() == []
    assert said[1:] == ["pmic-fit.json holds no calibration; calibrate again."]


def test_memory_beyond_the_limit_ends_the_service_once(engine: Engine, tmp_path: Any) -> None:
    used, codes = [100 << 20], list[int]()
    figures = Figures(engine.manifest, ("digit",))
    settings = Settings(tmp_path / "home.graft", ("fake:",), tmp_path, most_memory_bytes=200 << 20)
    watch = Watch(settings, tmp_path, None, figures, Journal(), codes.append, lambda: used[0])
    watch.look()
    assert codes == []
    used[0] = 201 << 20
    watch.look()
    watch.look()
    assert codes == [75]


def test_a_bundle_whose_start_cannot_be_counted_ends_the_service_only_once_it_can(
    engine: Engine, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from multigraft.runtime.deploy import store, trial
    from multigraft.runtime.service.serving import RETRY_S

    bundle = build().bundle
    first, second = (store.put(tmp_path, digit * 64, bundle) for digit in "ab")
    trial.switch_to(tmp_path, first)
    trial.settled(tmp_path, trial.starting(tmp_path))
    trial.switch_to(tmp_path, second)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(trial, "write_trial", full)
        switch = store.switch_of(tmp_path)
        assert trial.starting(tmp_path, lambda said: None) == first
        now, codes = [0.0], list[int]()
        figures = Figures(engine.manifest, ("digit",), lambda: now[0])
        watch = Watch(Settings(None, ("fake:",), tmp_path), first, switch, figures, Journal(), codes.append)
        for now[0] in (1.0, RETRY_S + 1, RETRY_S + 2):
            watch.look()
        assert codes == []
    for now[0] in (2 * RETRY_S - 1, 2 * RETRY_S + 1):
        assert codes == []
        watch.look()
    assert codes == [75]


def test_a_bundle_deployed_once_more_is_seen(engine: Engine, tmp_path: Any) -> None:
    from multigraft.runtime.deploy import store, trial

    bundle = build().bundle
    first, second = (store.put(tmp_path, digit * 64, bundle) for digit in "ab")
    trial.switch_to(tmp_path, first)
    trial.switch_to(tmp_path, second)
    switch, codes = store.switch_of(tmp_path), list[int]()
    trial.roll_back(tmp_path)
    figures = Figures(engine.manifest, ("digit",))
    watch = Watch(Settings(None, ("fake:",), tmp_path), first, switch, figures, Journal(), codes.append)
    watch.look()
    assert codes == []
    trial.switch_to(tmp_path, second)
    watch.look()
    assert codes == [75]


def test_a_bundle_settles_after_time_and_frames(engine: Engine, tmp_path: Any) -> None:
    from multigraft.runtime.deploy import store, trial
    from multigraft.runtime.service.serving import SETTLED_FRAMES, SETTLED_S

    bundle = build().bundle
    trial.switch_to(tmp_path, store.put(tmp_path, "a" * 64, bundle))
    folder = trial.starting(tmp_path)
    now = [0.0]
    figures = Figures(engine.manifest, ("garment", "digit"), lambda: now[0])
    settling = Settling(Settings(None, ("fake:",), tmp_path), folder, figures, Journal())
    for _ in range(SETTLED_FRAMES + 1):
        figures.answered(engine.run(FRAME))
        settling.look()
    assert not json.loads((tmp_path / "trial.json").read_text())["settled"]
    now[0] = SETTLED_S + 1
    settling.look()
    assert json.loads((tmp_path / "trial.json").read_text())["settled"]
