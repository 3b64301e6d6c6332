"""Cameras that go on by themselves: the newest frame, what was dropped, and cameras that vanish and come back."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest

from multigraft.devices.cameras.as_they_come import AsTheyCome
from multigraft.devices.cameras.fake_camera import FakeCamera
from multigraft.devices.cameras.fake_picamera2 import FakePicamera2
from multigraft.devices.cameras.newest import NewestFrame
from multigraft.devices.cameras.pi_camera import PiCamera
from multigraft.devices.cameras.returning import FIRST_S, LONGEST_S, Outage, ReturningCamera
from multigraft.devices.cameras.sources import LIVE_CAMERAS, dropped_frames, newest_only, open_source, resilient
from multigraft.devices.cameras.stream_camera import StreamCamera
from multigraft.devices.cameras.v4l2_camera import V4l2Camera
from multigraft.errors import DeviceError, InputError, MissingDependencyError
from multigraft.tensors.preprocessing import Frame
from tests.devices.cameras.streaming import mjpeg_server


class Tape:
    """A camera that plays frames when it is told to, one number a frame."""

    name = "tape"

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self.may_play = threading.Semaphore(0)
        self.played = threading.Semaphore(0)
        self.threads: list[str] = []

    def __enter__(self) -> Self:
        self.threads.append(threading.current_thread().name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.threads.append(threading.current_thread().name)

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self._frames):
            self.may_play.acquire()
            yield np.full((2, 2), number, np.uint8)
            self.played.release()

    def play(self, frames: int) -> None:
        """Return once the reader has so many frames, and asked for the next."""
        for _ in range(frames):
            self.may_play.release()
            self.played.acquire()


class Plug:
    """A camera that is there or not, and vanishes after so many frames each time it is opened."""

    name = "plugged camera"

    def __init__(self, frames_each_time: list[int | None]) -> None:
        self._times = frames_each_time
        self._left = 0
        self.is_open = False

    def __enter__(self) -> Self:
        assert not self.is_open
        frames = self._times.pop(0)
        if frames is None:
            raise DeviceError("there is no camera", "plug it in")
        self._left, self.is_open = frames, True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_open = False

    def __iter__(self) -> Iterator[Frame]:
        for _ in range(self._left):
            yield np.zeros((2, 2), np.uint8)
        raise DeviceError("the camera stopped giving frames", "plug it in again")


def test_a_slow_reader_gets_the_newest_frame_and_the_number_dropped() -> None:
    tape = Tape(8)
    with NewestFrame(tape) as camera:
        frames = iter(camera)
        tape.play(1)
        assert next(frames)[0, 0] == 0
        assert camera.dropped == 0
        tape.play(5)
        assert next(frames)[0, 0] == 5
        assert camera.dropped == 4
        tape.play(2)
        assert next(frames)[0, 0] == 7
        assert camera.dropped == 5
        assert list(frames) == []
    assert len(set(tape.threads)) == 1, "a driver is opened, read and closed by one thread"
    assert tape.threads[0] != threading.current_thread().name


def test_a_camera_without_frames_counts_as_gone() -> None:
    tape = Tape(1)
    with NewestFrame(tape, silence_s=0.05, leaving_s=0.05) as camera, pytest.raises(DeviceError, match="no frame for"):
        next(iter(camera))
    tape.may_play.release()


def test_a_camera_that_hangs_is_not_opened_twice() -> None:
    tape = Tape(1)
    camera = NewestFrame(tape, silence_s=0.05, leaving_s=0.05)
    with camera:
        pass
    with pytest.raises(DeviceError, match="hangs in its driver"):
        camera.__enter__()
    tape.may_play.release()


def test_what_a_camera_raises_reaches_the_reader() -> None:
    with pytest.raises(DeviceError, match="no /dev/video987"), NewestFrame(V4l2Camera("/dev/video987")):
        pass
    with NewestFrame(Plug([1])) as camera:
        frames = iter(camera)
        next(frames)
        with pytest.raises(DeviceError, match="stopped giving frames"):
            next(frames)


def test_only_cameras_that_run_by_themselves_drop() -> None:
    assert isinstance(newest_only(PiCamera()), NewestFrame)
    fake = FakeCamera(frames=2)
    assert newest_only(fake) is fake
    assert resilient(fake) is fake
    assert dropped_frames(fake) is None


def test_a_camera_that_vanishes_is_looked_for_at_growing_intervals() -> None:
    plug = Plug([2, None, None, None, 0, 1, None, 5])
    pauses: list[float] = []
    outages: list[Outage] = []
    with ReturningCamera(plug, wait=pauses.append, report=outages.append) as camera:
        frames = list(itertools.islice(camera, 6))
        assert camera.losses == 2
        assert camera.outage is None
    assert len(frames) == 6
    assert not plug.is_open
    # After the second frame it was away three times, then there without a frame; the third loss begins anew.
    assert pauses == [FIRST_S * factor for factor in (1, 2, 4, 8, 16, 1, 2)]
    assert [outage.attempt for outage in outages] == [1, 2, 3, 4, 5, 1, 2]
    assert str(outages[0]) == "the camera stopped giving frames; looking again in 0.5 s"


def test_pauses_have_a_longest() -> None:
    pauses: list[float] = []
    # More than the powers of two that a float holds: a night without the camera.
    with ReturningCamera(Plug([1, *[None] * 1100, 1]), wait=pauses.append) as camera:
        list(itertools.islice(camera, 2))
    assert max(pauses) == pauses[-1] == LONGEST_S


def test_what_a_driver_raises_is_a_loss_once_there_were_frames() -> None:
    class Cable(Plug):
        def __iter__(self) -> Iterator[Frame]:
            yield np.zeros((2, 2), np.uint8)
            errors = [RuntimeError("the cable was pulled"), InputError("half a frame", "send it whole")]
            raise errors[len(self._times) - 1]

    said: list[str] = []
    camera = ReturningCamera(
        Cable([1, 1, 1]),
        wait=lambda seconds: None,
        report=lambda o: said.append(str(o)),
        returned=lambda: said.append(""),
    )
    with camera:
        assert len(list(itertools.islice(camera, 3))) == 3
    assert camera.losses == 2
    assert said == ["half a frame; looking again in 0.5 s", "", "the cable was pulled; looking again in 0.5 s", ""]


def test_a_camera_that_is_not_there_at_the_start() -> None:
    with pytest.raises(DeviceError, match="there is no camera"), ReturningCamera(Plug([None])):
        pass
    pauses: list[float] = []
    with ReturningCamera(Plug([None, None, 3]), is_patient=True, wait=pauses.append) as camera:
        assert len(list(itertools.islice(camera, 3))) == 3
        assert camera.losses == 0
    assert pauses == [FIRST_S, 2 * FIRST_S]


def test_a_search_is_given_up_by_what_waits() -> None:
    class StopError(Exception):
        pass

    def stop(seconds: float) -> None:
        raise StopError

    with ReturningCamera(Plug([1]), wait=stop) as camera, pytest.raises(StopError):
        list(camera)


def test_a_missing_package_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingDependencyError), ReturningCamera(PiCamera(), is_patient=True):
        pass


def test_a_camera_is_not_opened_again_once_the_block_is_left() -> None:
    plug = Plug([1, 1])
    camera = ReturningCamera(plug, wait=lambda seconds: camera.__exit__(None, None, None))
    with camera:
        assert len(list(camera)) == 1
    assert not plug.is_open


def test_several_cameras_hold_up_none_of_each_other() -> None:
    fast, slow = Tape(50), Tape(2)
    with AsTheyCome({("a", "b"): fast, ("c",): slow}) as camera:
        frames = iter(camera)
        fast.play(3)
        first = next(frames)
        assert list(first) == ["a", "b"]
        assert first["a"] is first["b"]
        assert first["a"][0, 0] == 2
        assert camera.dropped == dropped_frames(camera) == 2
        fast.play(1)
        slow.play(1)
        fast.play(1)
        # The frame that waits longer comes first, renewed though it was.
        assert [list(next(frames)) for _ in range(2)] == [["a", "b"], ["c"]]
        assert camera.dropped == 3
        fast.play(45)
        slow.play(1)
        assert [int(next(iter(frame.values()))[0, 0]) for frame in frames] == [49, 1]
    assert dropped_frames(camera) == 47


def test_what_one_of_several_raises_ends_all() -> None:
    with AsTheyCome({("a",): Plug([0]), ("b",): Plug([0])}) as camera, pytest.raises(DeviceError, match="stopped"):
        list(camera)


def test_a_camera_that_is_away_holds_up_no_other() -> None:
    with mjpeg_server() as server:
        away = ReturningCamera(Plug([0] * 10_000), wait=lambda seconds: time.sleep(0.02))
        camera = AsTheyCome({("a",): resilient(open_source(server.url)), ("b",): away})
        with camera:
            frames = list(itertools.islice(camera, 5))
    assert [list(frame) for frame in frames] == [["a"]] * 5


def test_the_cameras_own_scaler_gives_no_more_than_is_needed() -> None:
    def size(pixels: tuple[int, int] | None) -> tuple[int, ...]:
        source = open_source("camera", None, pixels)
        assert isinstance(source, PiCamera)
        source._driver = FakePicamera2
        with source:
            return next(iter(source)).shape

    assert size(None) == (480, 640, 3)
    assert size((224, 224)) == (224, 300, 3)
    assert size((96, 160)) == (120, 160, 3)
    assert size((1080, 1920)) == (480, 640, 3)
    with_size = open_source("camera:1280x720", None, (96, 96))
    assert isinstance(with_size, PiCamera)
    assert with_size._size == (1280, 720)


def test_a_file_ends() -> None:
    with ReturningCamera(FakeCamera(frames=3)) as camera:
        assert len(list(camera)) == 3


def test_a_network_camera_that_goes_and_comes_back() -> None:
    with mjpeg_server() as server:
        stream = open_source(server.url)
        assert isinstance(stream, StreamCamera)
        assert "secret" not in stream.name
        assert "someone" not in stream.name

        def back(seconds: float) -> None:
            server.start()

        camera = resilient(stream, wait=back)
        assert isinstance(camera, ReturningCamera)
        assert isinstance(camera, LIVE_CAMERAS)
        assert dropped_frames(camera) == 0
        with camera:
            frames = iter(camera)
            assert {next(frames).shape for _ in range(3)} == {(48, 64, 3)}
            server.stop()
            # What the decoder still holds comes first.
            for _ in range(1000):
                next(frames)
                if camera.losses:
                    break
            assert next(frames).shape == (48, 64, 3)
            assert camera.losses == 1


def test_an_address_where_nothing_answers() -> None:
    with mjpeg_server() as server:
        url = server.url
    with pytest.raises(DeviceError, match="does not answer") as raised, StreamCamera(url, timeout_s=2):
        pass
    assert "secret" not in str(raised.value)


def test_names_that_stay_when_a_camera_comes_back() -> None:
    assert isinstance(open_source("/dev/v4l/by-id/usb-Maker_Camera_1234-video-index0"), V4l2Camera)


def test_a_camera_that_does_not_start_says_so_and_is_closed() -> None:
    class Busy(FakePicamera2):
        def start(self) -> None:
            raise RuntimeError("Failed to start camera: Device or resource busy")

    class Single(FakePicamera2):
        def configure(self, config: dict[str, Any]) -> None:
            if config["lores"]:
                raise RuntimeError("Configuration failed")
            super().configure(config)

    with pytest.raises(DeviceError, match="busy") as caught, PiCamera(driver=Busy):
        pass
    assert "rpicam-hello" in caught.value.remedy
    with PiCamera(driver=Single) as camera, pytest.raises(DeviceError, match="Configuration failed"):
        next(camera.shots())
    with pytest.raises(DeviceError, match="not open"):
        next(PiCamera(driver=FakePicamera2).shots())
