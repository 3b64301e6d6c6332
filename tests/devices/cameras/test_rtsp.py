"""Network cameras by RTSP, from a real server: right frames, the newest ones, and every way in which there are none."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from multigraft.cli.main import main
from multigraft.devices.cameras.newest import NewestFrame
from multigraft.devices.cameras.returning import ReturningCamera
from multigraft.devices.cameras.rtsp_probe import why_no_video
from multigraft.devices.cameras.sources import open_source, resilient
from multigraft.devices.cameras.stream_camera import StreamCamera
from multigraft.errors import DeviceError
from tests.bundle_builder import build
from tests.devices.cameras.rtsp import RtspCamera, number_of, silent_port
from tests.runtime.service.served import free_port, serving, until

LOGIN, TYPED = "someone:pa%ss/w@rd", "someone:pa%25ss%2Fw%40rd"
"""As the camera knows it, and as it stands in an address."""
SECRETS = ("pa%ss", "pa%25ss", "w@rd", "w%40rd", "someone", "wrong-one")


@pytest.fixture(scope="module")
def guarded() -> Iterator[RtspCamera]:
    """A camera that asks for a password (digest)."""
    with RtspCamera(login=LOGIN) as camera:
        yield camera


@pytest.fixture
def home(tmp_path: Path) -> Path:
    build().bundle.write(tmp_path / "home.graft")
    return tmp_path / "home.graft"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_are_those_that_were_sent_and_come_in_order(
    transport: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RtspCamera(transport) as server:
        with StreamCamera(server.url()) as camera:
            numbers = [number_of(frame) for frame in itertools.islice(camera, 8)]
        assert numbers == list(range(numbers[0], numbers[0] + 8))
        assert main(["run", str(home), "--source", server.url(), "--frames", "2"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [set(line["answers"]) for line in lines] == [{"garment", "digit"}] * 2


def test_a_slow_reader_sees_now_and_not_what_was_queued() -> None:
    with RtspCamera() as server:
        camera = resilient(open_source(server.url()))
        assert isinstance(camera, ReturningCamera) and isinstance(camera.camera, NewestFrame)
        newest = camera.camera
        with camera:
            frames = iter(camera)
            for _ in range(2):
                seen, dropped = number_of(next(frames)), newest.dropped
                until(lambda dropped=dropped: newest.dropped >= dropped + 20)  # type: ignore[misc]
                assert number_of(next(frames)) > seen + 20


def test_a_camera_that_is_killed_is_found_again_when_it_is_back() -> None:
    with RtspCamera() as server:
        lost: list[str] = []

        def back(seconds: float) -> None:
            if len(lost) == 2:
                server.start()

        camera = resilient(open_source(server.url()), wait=back, report=lambda outage: lost.append(str(outage)))
        assert isinstance(camera, ReturningCamera)
        with camera:
            frames = iter(camera)
            number_of(next(frames))
            server.kill()
            until(lambda: number_of(next(frames)) > 0 and camera.losses == 1)
            assert number_of(next(frames)) > 0
    assert "stopped giving frames" in lost[0] and "does not listen" in lost[1]


def test_a_camera_that_is_halted_counts_as_gone() -> None:
    with RtspCamera() as server, StreamCamera(server.url(), timeout_s=0.5) as camera:
        frames = iter(camera)
        next(frames)
        server.halt()
        with pytest.raises(DeviceError, match="stopped giving frames"):
            list(frames)


@pytest.mark.parametrize(
    ("path", "login", "problem"),
    [
        ("window", TYPED, "refused user or password|has no such path"),
        ("door", "someone:wrong-one", "refused user or password"),
        ("door", "", "asks for user and password"),
        ("door", "someone:pa%ss/w@rd", "is no address|refused user or password"),
    ],
)
def test_what_a_camera_refuses_is_named_without_the_password(
    guarded: RtspCamera, path: str, login: str, problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DeviceError, match=problem) as raised, StreamCamera(guarded.url(path, login)):
        pass
    # FFmpeg and OpenCV write for themselves.
    told = str(raised.value) + "".join(capfd.readouterr())
    assert f"127.0.0.1:{guarded.port}" in told
    assert not [secret for secret in SECRETS if secret in told]


def test_the_right_password_opens(guarded: RtspCamera) -> None:
    with StreamCamera(guarded.url(login=TYPED)) as camera:
        assert number_of(next(iter(camera))) > 0


def test_a_path_that_is_not_there() -> None:
    with RtspCamera() as server, pytest.raises(DeviceError, match="has no such path"):
        StreamCamera(server.url("window")).__enter__()


def test_a_port_where_nothing_is_said_or_nobody_listens() -> None:
    with silent_port() as port, pytest.raises(DeviceError, match=r"said nothing for 0\.5 s"):
        StreamCamera(f"rtsp://127.0.0.1:{port}/door", timeout_s=0.5).__enter__()
    with pytest.raises(DeviceError, match="does not listen"):
        StreamCamera(f"rtsp://127.0.0.1:{free_port()}/door", timeout_s=0.5).__enter__()
    assert why_no_video("rtsp://camera:99999/door", 1.0) is not None


def test_a_camera_that_says_a_line_without_end_has_no_more_time_than_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                while True:
                    connection.sendall(b"R")
                    time.sleep(0.05)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        said = why_no_video(f"rtsp://127.0.0.1:{listening.getsockname()[1]}/door", 0.3)
        thread.join()
    assert said is not None and said[0] == "said nothing for 0.3 s"


def test_the_service_tells_of_cameras_without_their_passwords(guarded: RtspCamera, home: Path, tmp_path: Path) -> None:
    sources = [f"garment={guarded.url(login=TYPED)}", f"digit={guarded.url(login='someone:wrong-one')}"]
    with serving(tmp_path, str(home), *itertools.chain(*(("--source", source) for source in sources))) as served:
        served.until(lambda: "refused user or password" in served.log.read_text())
        served.until(lambda: served.json("/live/state")["frames"] >= 5)
        told = [*(served.ask(page)[2].decode() for page in ("/live/state", "/metrics", "/healthz", "/v2"))]
        assert served.end() == 0
    state = json.loads(told[0])
    assert [camera["up"] for camera in state["cameras"]] == [True, False]
    assert set(state["words"]) == {"garment"}
    assert f'camera_up{{camera="stream {guarded.url()}",tasks="digit"}} 0.0' in told[1]
    everything = "".join(told) + served.log.read_text()
    assert not [secret for secret in SECRETS if secret in everything]
