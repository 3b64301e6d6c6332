"""Several live cameras in one service: none waits for another, and each is lost, found and counted by itself."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.bundle.manifest import Manifest
from multigraft.cli.shared.bundle_sources import bundle_cameras
from multigraft.devices.cameras import returning
from multigraft.errors import ConfigurationError, DeviceError, InputError, UsageError
from multigraft.runtime import Engine
from multigraft.runtime.answers import Answer
from multigraft.runtime.scheduling.rota import Rota
from multigraft.runtime.service.asked import Requests
from multigraft.runtime.service.figures import Figures
from multigraft.runtime.service.frames import Frames, Pace
from multigraft.runtime.service.journal import Journal
from multigraft.runtime.service.loop import WAIT_S, Loop
from multigraft.runtime.service.scheduled import Schedule, ScheduledLoop
from multigraft.tensors.preprocessing import Frame
from tests.bundle_builder import build
from tests.devices.cameras.streaming import mjpeg_server
from tests.runtime.scheduling.made_times import Clock, rates, times
from tests.runtime.service.served import serving, until
from tests.runtime.service.test_loop import Counting, Eye


class Painted(Eye):
    """An eye that sees one picture."""

    def __init__(self, name: str, level: int) -> None:
        super().__init__()
        self.name = name
        self.picture = np.random.default_rng(level).integers(0, 256, (28, 28), dtype=np.uint8)

    def __iter__(self) -> Iterator[Frame]:
        for _ in super().__iter__():
            yield self.picture


class House:
    """A loop with a camera at the door and one at the window."""

    def __init__(self, *asked: str) -> None:
        self.engine = Engine(build().bundle)
        self.door, self.window = Painted("door", 1), Painted("window", 2)
        self.notifier = Counting({})
        self.figures = Figures(self.engine.manifest, None)
        self.said: list[tuple[bool, str]] = []
        self.frames = Frames(
            {("garment",): self.door, ("digit",): self.window}, lambda _: True, lambda *told: self.said.append(told)
        )
        requests = Requests(self.engine, self.figures.requests)
        parts: Any = (
            self.engine, None, self.frames, Pace(None), self.figures, requests, None, self.notifier, Journal({}),
        )  # fmt: skip
        if asked:
            scheduled = ScheduledLoop(Schedule(tuple(rates(*asked))), *parts)
            scheduled.start(times(0.1, {"garment": 0.1, "digit": 0.1}).apart(self.frames.cameras))
            self.loop: Loop = scheduled
        else:
            self.loop = Loop(*parts)
        self.answers: dict[str, Answer] = {}
        self.loop.answered = self.answers.update
        self.thread = threading.Thread(target=self.loop.run)

    def count(self, task: str) -> int:
        """Answers of a task."""
        return self.figures.times[task].count

    def __enter__(self) -> House:
        self.frames.start()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.end(0)
        for eye in (self.door, self.window):
            eye.is_broken = True
            eye.allowed.release()
        self.thread.join()
        self.frames.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "FIRST_S", 0.05)
    monkeypatch.setattr(returning, "LONGEST_S", 0.1)


def test_a_camera_that_hangs_holds_back_no_other_and_starves_the_watchdog() -> None:
    with House() as house:
        house.window.allowed.release()
        house.door.allowed.release()
        until(lambda: house.count("digit") == house.count("garment") == 1)
        until(lambda: house.notifier.fed == 1)
        # The window hangs from here on.
        for number in range(2, 8):
            house.door.allowed.release()
            until(lambda number=number: house.count("garment") == number)  # type: ignore[misc]
        threading.Event().wait(2 * WAIT_S)
        assert house.count("digit") == 1
        assert house.notifier.fed == 1
        house.window.allowed.release()
        until(lambda: house.notifier.fed == 2)
        assert house.frames.losses == 0


def test_a_camera_whose_thread_ends_unexpectedly_ends_the_service_to_start_it_again() -> None:
    def say(is_up: bool, sentence: str) -> None:
        raise BrokenPipeError("the log is gone")

    house = House()
    house.frames = house.loop._frames = Frames({("digit",): house.window}, lambda _: True, say)
    house.frames.start()
    house.window.is_broken = True
    house.window.allowed.release()
    late = threading.Timer(60, house.loop.end, (0,))
    late.start()
    with pytest.raises(DeviceError, match="window is not read any more"):
        house.loop.run()
    late.cancel()
    assert not house.frames.is_up and "the log is gone" in house.frames.reason


def test_a_camera_that_vanishes_is_looked_for_while_the_others_go_on() -> None:
    with House() as house:
        house.window.allowed.release()
        house.door.allowed.release()
        until(lambda: house.count("digit") == house.count("garment") == 1)
        house.window.is_broken = True
        house.window.allowed.release()
        until(lambda: house.frames.cameras["digit",].losses == 1 and not house.frames.is_up)
        fed = house.notifier.fed
        for number in range(2, 8):
            house.door.allowed.release()
            until(lambda number=number: house.count("garment") == number)  # type: ignore[misc]
        until(lambda: house.notifier.fed > fed)
        assert "looked for: there is no eye" in house.loop.status() or "open it" in house.loop.status()
        house.window.is_broken = False
        house.window.allowed.release()
        until(lambda: house.count("digit") == 2 and house.frames.is_up)
        told = {camera["name"]: camera for camera in house.frames.to_json()}
        assert (told["window"]["losses"], told["door"]["losses"]) == (1, 0)
        assert house.said == [
            (False, "the eye is closed; looking again in 0.05 s"),
            (True, "window gives frames again"),
        ]


def test_frames_are_dropped_and_counted_by_camera() -> None:
    house = House()
    house.frames.start()
    house.door.allowed.release(5)
    house.window.allowed.release(2)
    until(lambda: [camera.steps for camera in house.frames.cameras.values()] == [5, 2])
    assert [camera["dropped"] for camera in house.frames.to_json()] == [4, 1]
    assert house.frames.dropped == 5
    # Each task's frame is that of its own camera.
    taken = [house.frames.take(0.0)[1] for _ in range(2)]
    assert sorted(itertools.chain(*taken)) == ["digit", "garment"]
    assert all(frame["garment"] is house.door.picture for frame in taken if "garment" in frame)
    assert not house.frames.has_frame()
    house.door.allowed.release()
    house.window.allowed.release()
    house.frames.stop()


def test_tasks_of_one_input_are_asked_of_their_own_cameras_at_their_rates() -> None:
    with House("garment=50", "digit=50,priority=1") as house:
        assert house.engine.manifest.inputs_of("garment") == house.engine.manifest.inputs_of("digit")
        stopped = threading.Event()

        def play() -> None:
            while not stopped.wait(0.005):
                house.door.allowed.release()
                house.window.allowed.release()

        player = threading.Thread(target=play)
        player.start()
        until(lambda: min(house.count("garment"), house.count("digit")) >= 10)
        answers = dict(house.answers)
        expected = {
            "garment": house.engine.run(house.door.picture, ("garment",)).answers["garment"],
            "digit": house.engine.run(house.window.picture, ("digit",)).answers["digit"],
        }
        stopped.set()
        player.join()
        assert answers == expected


def test_a_camera_that_hangs_takes_no_turns_from_tasks_of_lower_priority() -> None:
    with House("garment=50", "digit=50,priority=9") as house:
        for number in range(1, 8):
            house.door.allowed.release()
            until(lambda number=number: house.count("garment") >= number)  # type: ignore[misc]
        assert house.count("digit") == 0


def test_nothing_is_held_back_for_a_task_that_has_no_frame() -> None:
    clock = Clock()
    taken = times(0, {"garment": 60, "digit": 10})
    # On its own, digit would be late behind garment, and comes first.
    rota = Rota(tuple(rates("garment=10", "digit=20,priority=1")), taken.bound_s, clock)
    rota.begin()
    assert rota.next() == "digit"
    assert rota.next(lambda task: task == "garment") == "garment"


def test_what_different_cameras_share_is_run_for_each() -> None:
    taken = times(8, {"garment": 1, "digit": 1})
    assert taken.bound_s("digit", frozenset({"garment"})) == pytest.approx(0.001)
    apart = taken.apart([("garment",), ("digit",)])
    assert apart.bound_s("digit", frozenset({"garment"})) == pytest.approx(0.009)
    assert taken.apart([("garment", "digit")]).bound_s("digit", frozenset({"garment"})) == pytest.approx(0.001)


def test_a_camera_whose_frames_no_task_takes_is_a_wrong_configuration_whatever_the_others_do() -> None:
    house = House()
    house.window.picture = np.zeros((2, 2, 2), np.uint8)
    failed: list[Exception] = []

    def run() -> None:
        try:
            house.loop.run()
        except ConfigurationError as error:
            failed.append(error)

    house.thread = threading.Thread(target=run)
    with house:
        house.door.allowed.release()
        until(lambda: house.count("garment") == 1)
        house.window.allowed.release()
        until(lambda: bool(failed))


def manifest() -> Manifest:
    return build().bundle.manifest


def test_live_sources_are_cameras_of_their_own_and_files_are_read_in_step() -> None:
    one = bundle_cameras(["fake:"], manifest())
    assert list(one) == [()]
    live = bundle_cameras(["garment=/dev/video0", "digit=rtsp://a:b@garden/stream"], manifest())
    assert list(live) == [("garment",), ("digit",)]
    both = bundle_cameras(["garment=/dev/video0", "digit=/dev/video0"], manifest())
    assert list(both) == [("garment", "digit")]
    files = bundle_cameras(["garment=fake:frames=2", "digit=fake:seed=2,frames=2"], manifest())
    assert list(files) == [("garment",), ("digit",)], "they share an input"
    with pytest.raises(UsageError) as raised:
        bundle_cameras(["rtsp://me:secret@door/a", "rtsp://me:secret@window/b"], manifest())
    assert "secret" not in str(raised.value)
    with pytest.raises(InputError) as unknown:
        bundle_cameras(["rstp://me:secret@door/a"], manifest())
    assert "secret" not in str(unknown.value)


def test_files_of_tasks_that_share_an_input_are_served_at_rates_of_their_own(tmp_path: Path) -> None:
    build().bundle.write(tmp_path / "home.graft")
    sources = ("--source", "garment=fake:", "--source", "digit=fake:seed=2", "--rate", "garment=2", "--rate", "digit=3")
    with serving(tmp_path, str(tmp_path / "home.graft"), *sources) as served:
        served.until(lambda: served.is_well() and len(served.json("/live/state")["words"]) == 2)
        assert [camera["tasks"] for camera in served.json("/live/state")["cameras"]] == [["garment"], ["digit"]]


def test_the_service_answers_one_camera_while_another_is_gone(tmp_path: Path) -> None:
    build().bundle.write(tmp_path / "home.graft")
    with mjpeg_server() as door, mjpeg_server() as window:
        sources = ("--source", f"garment={door.url}", "--source", f"digit={window.url}")
        with serving(tmp_path, str(tmp_path / "home.graft"), *sources) as served:
            served.until(lambda: served.is_well() and len(served.json("/live/state")["words"]) == 2)
            window.stop()
            served.until(lambda: [c["up"] for c in served.json("/live/state")["cameras"]] == [True, False])
            before = served.json("/live/state")["frames"]
            served.until(lambda: served.json("/live/state")["frames"] > before + 20)
            assert not served.is_well()
            window.start()
            served.until(served.is_well)
            text = served.ask("/metrics")[2].decode()
            names = {camera.url: f"stream {camera.url.replace('someone:secret@', '')}" for camera in (door, window)}
            assert f'camera_losses_total{{camera="{names[window.url]}",tasks="digit"}} 1.0' in text
            assert f'camera_losses_total{{camera="{names[door.url]}",tasks="garment"}} 0.0' in text
            assert f'dropped_frames_total{{camera="{names[door.url]}",tasks="garment"}}' in text
            assert "secret" not in text + json.dumps(served.json("/live/state")) + served.log.read_text()
            assert served.end() == 0
