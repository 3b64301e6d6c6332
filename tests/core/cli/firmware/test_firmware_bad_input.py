"""What can be wrong with a model, a project, a port or a device: one sentence with the remedy, nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import threading
import tty
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from multigraft.cli.main import main
from multigraft.devices.target.serial_link import SerialLink
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.tflite import tflite_file
from tests.bundle_builder import build
from tests.devices.target.test_link import fake_firmware
from tests.firmware_gen.models import Builder, activation, residual, single

pytest.importorskip("serial")


def elu() -> bytes:
    return single("ELU", [activation("a", (1, 4, 4, 2))], activation("out", (1, 4, 4, 2)))


def dynamic() -> bytes:
    return single("RELU", [activation("a", (1, -1, 4, 2))], activation("out", (1, -1, 4, 2)))


def heavy() -> bytes:
    b = Builder()
    b.add(activation("in", (1, 512), 0.05, 0))
    b.dense("out", b.dense("middle", "in", 512), 64)
    return b.model(["in"], ["out"])


def float_output() -> bytes:
    model = tflite_file.read(residual())
    graph = model.main
    tensors = {**graph.tensors, "answer": replace(graph.tensors["answer"], dtype="float32", quant=None)}
    return tflite_file.write(replace(model, subgraphs=(replace(graph, tensors=tensors),)))


MODELS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "an operator without a kernel": (
        elu,
        "mps2-an386",
        "ELU: it has no kernel here ('out'); see `multigraft",
    ),
    "a dynamic shape": (dynamic, "mps2-an386", "is not static"),
    "a float model": (lambda: build(float32=True).uncut, "mps2-an386", "float32, not int8 or uint8; quantise it here"),
    "a float output": (float_output, "mps2-an386", "'answer' is float32, not int8 or uint8; quantise"),
    "more RAM than the board has": (
        lambda: residual(size=48),
        "microbit",
        "too few; choose a smaller network or a board",
    ),
    "more flash than the board has": (
        heavy,
        "microbit",
        "more than there are; choose a smaller network or a board with",
    ),
    "half a file": (lambda: residual()[: len(residual()) // 2], "mps2-an386", "model.tflite is truncated or damaged"),
    "no model at all": (lambda: b"#!/bin/sh\n" * 30, "mps2-an386", "model.tflite is not"),
    "an empty file": (lambda: b"", "mps2-an386", "model.tflite is not"),
}


def refused(arguments: list[str], says: str, capfd: pytest.CaptureFixture[str], code: int = 2) -> None:
    capfd.readouterr()
    assert main(arguments) == code
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("multigraft: ")
    assert lines[0].endswith(".")
    assert says in lines[0]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_cannot_be_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, board, says = MODELS[name]
    path = tmp_path / "model.tflite"
    path.write_bytes(make())
    refused(["firmware", str(path), "--board", board, "-o", str(tmp_path / "fw")], says, capfd)
    assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (["--ram", "500"], "bytes of RAM, 1732 more than there are"),
        (["--flash", "1000"], "bytes of flash, "),
        (["--flash", "0"], "bytes of flash, "),
    ],
)
def test_budgets_say_how_many_bytes_are_missing(
    budget: list[str], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(residual())
    refused(["firmware", str(path), "--board", "mps2-an386", "-o", str(tmp_path / "fw"), *budget], says, capfd)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder that was generated and not built."""
    path = tmp_path / "model.tflite"
    path.write_bytes(residual(size=8))
    assert main(["firmware", str(path), "--board", "mps2-an386", "-o", str(tmp_path / "fw")]) == 0
    return tmp_path / "fw"


def test_what_is_wrong_with_a_folder_is_said(project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fw = str(project)
    refused(["firmware", "verify", fw, "--qemu"], "firmware.elf does not exist; build it with: make -C", capfd)
    refused(["firmware", "report", fw, "--picture", "ram.xyz"], "ram.xyz is no picture", capfd)
    (tmp_path / "file").write_text("")
    model = str(tmp_path / "model.tflite")
    to_file = ["firmware", model, "--board", "mps2-an386", "-o", str(tmp_path / "file")]
    refused(to_file, "file is a file; name a folder", capfd)
    (project / "golden.npz").write_bytes(b"no arrays")
    refused(["firmware", "verify", fw, "--qemu"], "has no golden vectors", capfd)
    for damaged in ("", "[]", '{"model": "x"}'):
        (project / "report.json").write_text(damaged)
        refused(["firmware", "report", fw], "report.json is no report of this version", capfd)
    (project / "project.json").write_text('{"board": "toaster", "digest": "", "steps": []}')
    refused(["firmware", "verify", fw, "--qemu"], "project.json is damaged (there is no board 'toaster'", capfd)


@contextlib.contextmanager
def terminal(answer: Callable[[bytes], bytes] = lambda data: b"") -> Iterator[str]:
    """Name of a pseudo-terminal whose other end answers in a thread."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            if select.select([master], [], [], 0.05)[0]:
                os.write(master, answer(os.read(master, 4096)))

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield os.ttyname(slave)
    finally:
        ended.set()
        server.join()
        os.close(master)
        os.close(slave)


def talking_to(port: str, project: Path) -> list[list[str]]:
    """Every command that talks to a device."""
    return [
        ["monitor", "--port", port, "--count", "1"],
        ["firmware", "verify", str(project), "--port", port],
        ["flash", str(project), "--port", port, "--image", str(project / "project.json")],
    ]


def with_slots(project: Path) -> Path:
    """The project as one for a board that takes updates over its serial port."""
    description = json.loads((project / "project.json").read_text())
    (project / "project.json").write_text(json.dumps({**description, "board": "qemu-virt-rv32-slots"}))
    return project


def test_a_port_that_is_not_there_is_said_so(project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for command in talking_to(str(tmp_path / "ttyNONE"), with_slots(project)):
        refused(command, "there is no serial port", capfd)


def test_a_port_in_use_is_said_so(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with terminal() as port, SerialLink(port):
        for command in talking_to(port, with_slots(project)):
            refused(command, f"{port} is in use by another program; close that program", capfd)


def test_a_port_that_is_a_file_is_said_so(project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for command in talking_to(str(tmp_path / "model.tflite"), with_slots(project)):
        refused(command, "cannot be opened", capfd)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (b"", "does not answer; check that it is flashed and reset it"),
        (b"m-init-done\r\nm-ready\r\n", "runs the MLPerf Tiny dialogue; build with make PROTOCOL=frames"),
    ],
    ids=["silent", "mlperf"],
)
def test_a_device_that_does_not_answer_as_ours_is_told(
    said: bytes, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with terminal(lambda data: said) as port:
        refused(["monitor", "--port", port], says, capfd)


def test_the_wrong_device_is_refused(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    firmware = fake_firmware()
    with terminal(firmware.receive) as port:
        verify = ["firmware", "verify", str(project), "--port", port]
        refused(
            verify,
            f"the device at {port} runs 'tiny', which is not the model of this project; flash the project first",
            capfd,
        )
        refused(["monitor", "--port", port, "--tasks", "smell"], "no task 'smell'; choose from: mean, slope", capfd)
        other = ["monitor", "--port", port, "--project", str(project)]
        refused(other, f"the device at {port} runs 'tiny', which is not the model of this project", capfd)
        never = ["monitor", "--port", port, "--timeout", "0"]
        refused(never, "a device cannot be given 0.0 s to answer; give it up to 86400", capfd)
        with_slots(project)
        refused(verify, f"the device at {port} is a mps2-an386, the project is for qemu-virt-rv32-slots", capfd)
        update = ["flash", str(project), "--port", port, "--image", str(project / "project.json")]
        refused(update, "is a mps2-an386, not a qemu-virt-rv32-slots; choose the right port or project", capfd)


def test_boards_without_what_is_asked_are_refused(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    description = json.loads((project / "project.json").read_text())
    for name in ("nucleo-f446re", "esp32c3"):
        (project / "project.json").write_text(json.dumps({**description, "board": name}))
        built = project / "build" / "frames"
        built.mkdir(parents=True, exist_ok=True)
        (built / "firmware.elf").write_bytes(b"")
        for command in ("verify", "report"):
            refused(["firmware", command, str(project), "--qemu"], f"{name} is not emulated by QEMU; choose", capfd)
    assert BOARDS["nucleo-f446re"].qemu is None
