"""``run`` on live cameras: several at once, each with its tasks, and one that vanishes and comes back."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.cli.shared.bundle_sources import open_bundle_source, smallest_frame
from multigraft.devices.cameras.pi_camera import PiCamera
from tests.bundle_builder import build as build_bundle
from tests.devices.cameras.streaming import mjpeg_server


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "home.graft"
    build_bundle().bundle.write(path)
    return path


def test_several_cameras_each_with_its_tasks(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mjpeg_server() as porch, mjpeg_server() as garden:
        arguments = ["--source", f"garment={porch.url}", "--source", f"digit={garden.url}", "--frames", "12"]
        assert main(["run", str(bundle), *arguments]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frame"] for line in lines] == list(range(12))
    asked = [tuple(line["answers"]) for line in lines]
    # Answers to one camera's frame are of its tasks alone, and both cameras had their turns.
    assert set(asked) == {("garment",), ("digit",)}
    assert all("preprocessing" in line["latency_us"] for line in lines)


def test_a_camera_that_comes_back_and_what_was_dropped(bundle: Path, tmp_path: Path) -> None:
    with mjpeg_server(fps=300) as server, (tmp_path / "said").open("w+") as stderr:
        command = [sys.executable, "-m", "multigraft", "run", str(bundle), "--source", server.url, "--frames", "300"]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(3)]
        server.stop()
        threading.Timer(0.2, server.start).start()
        # Not communicate(): what readline() took in beside its line would be lost.
        lines += running.stdout.readlines()
        running.stdout.close()
        code = running.wait(60)
        stderr.seek(0)
        said = stderr.read()
    assert code == 0, said
    assert len(lines) == 300
    assert "stopped giving frames; looking again in 0.5 s" in said
    assert f"stream http://127.0.0.1:{server.port}/video.mjpg" in said
    assert "secret" not in said


def test_the_camera_is_asked_for_no_more_pixels_than_the_tasks_take(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    assert smallest_frame(manifest, ["digit"]) == (28, 28)
    camera = open_bundle_source(["camera"], manifest)
    assert isinstance(camera, PiCamera)
    assert camera._size == (38, 28)
