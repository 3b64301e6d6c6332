"""What every link and the firmware behind it have to do: fake, pseudo-terminal, and machine code in QEMU."""

from __future__ import annotations

import contextlib
import functools
import os
import pty
import random
import select
import shutil
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from multigraft import serial_protocol as protocol
from multigraft.devices.target.board_updater import BoardUpdater
from multigraft.devices.target.fake_link import FakeFirmware, FakeLink
from multigraft.devices.target.link import Link
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.devices.target.target_info import TargetTensor
from multigraft.devices.target.terminal_link import TerminalLink
from multigraft.errors import DeviceError, UsageError
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.boards.toolchain import APT_PACKAGES
from multigraft.tensors.arrays import Array
from tests.firmware_gen import tiny_model
from tests.runtime.service.served import PATIENCE_S

HAVE_TOOLS = shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")


def fake_firmware() -> FakeFirmware:
    model = tiny_model.MODEL
    inputs, outputs = (
        [TargetTensor(t.name, t.dtype, t.shape, t.bytes, t.scale, t.zero_point) for t in tensors]
        for tensors in (model.inputs, model.outputs)
    )

    def run(arrays: list[Array]) -> list[Array]:
        mean, slope = tiny_model.reference(arrays[0].ravel())
        return [mean.reshape(1, 4), slope.reshape(1, 300)]

    return FakeFirmware(inputs, outputs, model.tasks, run, "mps2-an386", model.name, model.digest)


@contextlib.contextmanager
def fake_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    with FakeLink(fake_firmware()) as link:
        yield link


@contextlib.contextmanager
def terminal_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    """A pseudo-terminal whose other end is answered by the fake firmware in a thread."""
    firmware = fake_firmware()
    master, slave = pty.openpty()
    tty.setraw(slave)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            if select.select([master], [], [], 0.05)[0]:
                os.write(master, firmware.receive(os.read(master, 4096)))

    server = threading.Thread(target=serve)
    server.start()
    try:
        with SerialLink(os.ttyname(slave)) as link:
            yield link
    finally:
        ended.set()
        server.join()
        os.close(master)
        os.close(slave)


@contextlib.contextmanager
def qemu_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    if not HAVE_TOOLS:
        pytest.skip(f"firmware tools: install {' '.join(APT_PACKAGES)}")
    folder = tmp_path_factory.mktemp("firmware")
    board = BOARDS["mps2-an386"]
    tiny_model.build(board, folder)
    with EmulatedBoard(board, folder / "build/frames/firmware.elf") as emulated, TerminalLink(emulated.port) as link:
        emulated.resume()
        yield link


@pytest.fixture(scope="module", params=[fake_rig, terminal_rig, qemu_rig], ids=["fake", "terminal", "qemu"])
def link(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    with request.param(tmp_path_factory) as opened:
        yield opened


def frame_of(seed: int) -> npt.NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-128, 128, (1, 4, 4, 1), dtype=np.int8)


def test_a_device_says_what_it_is(link: Link) -> None:
    assert isinstance(link, Link)
    info = Target(link).info
    assert (info.board, info.model, info.digest) == ("mps2-an386", "tiny", "ab" * 32)
    assert [(t.name, t.dtype, t.shape) for t in info.inputs] == [("frame", "int8", (1, 4, 4, 1))]
    assert [(t.name, t.shape) for t in info.outputs] == [("sum", (1, 4)), ("difference", (1, 300))]
    assert (info.inputs[0].scale, info.inputs[0].zero_point) == (0.5, -3)
    assert info.tasks == {"mean": (0,), "slope": (1,)}


def test_tasks_are_answered_on_demand_bit_for_bit(link: Link) -> None:
    target = Target(link)
    for seed in range(10):
        frame = frame_of(seed)
        mean, slope = tiny_model.reference(frame.ravel())
        both = target.infer({"frame": frame})
        np.testing.assert_array_equal(both.outputs["sum"][0], mean)
        np.testing.assert_array_equal(both.outputs["difference"][0], slope)
        assert both.cycles > 0
        assert list(target.infer({"frame": frame}, ["slope"]).outputs) == ["difference"]
    again = target.infer(tasks=["mean"])
    np.testing.assert_array_equal(again.outputs["sum"][0], mean)


def test_a_board_without_a_camera_refuses_to_take_a_picture(link: Link) -> None:
    with pytest.raises(DeviceError, match="has no camera"):
        Target(link).capture()


def test_streams_come_in_order_and_end(link: Link) -> None:
    target = Target(link, timeout_s=PATIENCE_S)
    frame = frame_of(3)
    mean, slope = tiny_model.reference(frame.ravel())
    target.infer({"frame": frame}, ["mean"])
    answers = list(target.stream(5))
    assert len(answers) == 5
    for answer in answers:
        np.testing.assert_array_equal(answer.outputs["sum"][0], mean)
        whole = len(answer.outputs["difference"])
        assert 0 < whole < 300
        np.testing.assert_array_equal(answer.outputs["difference"], slope[:whole])
    for _ in target.stream(1000, ["mean"]):
        break
    np.testing.assert_array_equal(target.infer({"frame": frame}, ["mean"]).outputs["sum"][0], mean)


def test_statistics_are_sums_over_all_inferences_since_clearing(link: Link) -> None:
    target = Target(link)
    target.statistics(clear=True)
    frames = [frame_of(seed) for seed in range(20, 26)]
    for frame in frames:
        target.infer({"frame": frame}, ["mean"])
    sums = target.statistics()
    values = np.concatenate(frames, axis=None).astype(int)
    s = sums["frame"]
    assert (s.inferences, s.elements) == (6, values.size)
    assert (s.smallest, s.largest) == (values.min(), values.max())
    assert (s.sum, s.sum_of_squares) == (values.sum(), (values**2).sum())
    means = np.concatenate([tiny_model.reference(frame.ravel())[0] for frame in frames]).astype(int)
    assert sums["sum"].sum == means.sum()
    assert sums["difference"].inferences == 0
    merged = s + s
    assert (merged.inferences, merged.smallest, merged.sum) == (12, s.smallest, 2 * s.sum)


def test_memory_and_reset_reason_are_reported(link: Link) -> None:
    target = Target(link)
    memory = target.memory()
    assert 0 < memory.flash_used <= memory.flash_there
    assert 0 < memory.ram_used + memory.stack_peak <= memory.ram_there
    target.reset()
    assert target.reset_reason().reason == protocol.ResetReason.SOFTWARE


def test_the_device_is_in_step_again_after_any_garbage(link: Link) -> None:
    target = Target(link)
    chance = random.Random(7)
    for length in (1, 2, 50, 300, 1000):
        link.write(bytes(chance.randrange(256) for _ in range(length)))
        assert target.memory().flash_used > 0
    whole = protocol.encode(protocol.Message(protocol.Kind.INFO, 9))
    for cut in range(len(whole)):
        link.write(whole[:cut])
        assert target.memory().flash_used > 0


def test_wrong_requests_are_refused_with_a_remedy(link: Link) -> None:
    target = Target(link)
    with pytest.raises(UsageError, match="no task 'smell'; choose from: mean, slope"):
        target.infer(tasks=["smell"])
    with pytest.raises(UsageError, match="no input 'sound'"):
        target.infer({"sound": frame_of(0)})
    with pytest.raises(UsageError, match=r"takes int8 \(1, 4, 4, 1\), not float32"):
        target.infer({"frame": frame_of(0).astype(np.float32)})
    with pytest.raises(DeviceError, match="no second slot"):
        BoardUpdater(target)
    for kind, payload in ((0x33, b""), (protocol.Kind.INFER, b"123"), (protocol.Kind.INFER, b"\0" * 4)):
        with pytest.raises(DeviceError, match="the device at"):
            target._requests.send(kind, payload)
    for number, offset, size in ((0, 14, 3), (0, 2**32 - 1, 2), (1, 0, 1), (255, 0, 1)):
        with pytest.raises(DeviceError, match="does not have"):
            target._requests.send(protocol.Kind.WRITE_INPUT, protocol.WRITE_REQUEST.pack(number, offset) + bytes(size))
    for request in ((0, 4, 1), (0, 2**32 - 1, 2), (1, 299, 2), (2, 0, 1), (1, 0, 241)):
        with pytest.raises(DeviceError, match="does not have"):
            target._requests.send(protocol.Kind.READ_OUTPUT, protocol.READ_REQUEST.pack(*request))


def test_a_lost_answer_is_asked_for_again_and_nothing_runs_twice() -> None:
    firmware = fake_firmware()
    chance = random.Random(1)

    def lossy(data: bytes) -> bytes:
        return b"" if chance.random() < 0.2 else data

    with FakeLink(firmware) as quiet:
        target = Target(quiet, quiet.clock)
        quiet._disturb = lossy
        firmware.received.clear()
        done = 0
        for _ in range(30):
            with contextlib.suppress(DeviceError):
                target.infer(tasks=["mean"])
                done += 1
    runs = firmware.received.count(protocol.Kind.INFER)
    assert done > 10
    assert done <= runs <= 30


def test_a_bit_error_is_never_taken_for_an_answer() -> None:
    chance = random.Random(2)

    def flip(data: bytes) -> bytes:
        damaged = bytearray(data)
        if damaged and chance.random() < 0.3:
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        return bytes(damaged)

    with FakeLink(fake_firmware()) as quiet:
        target = Target(quiet, quiet.clock)
        quiet._disturb = flip
        right = 0
        for seed in range(20):
            frame = frame_of(seed)
            with contextlib.suppress(DeviceError):
                answer = target.infer({"frame": frame}, ["mean"])
                np.testing.assert_array_equal(answer.outputs["sum"][0], tiny_model.reference(frame.ravel())[0])
                right += 1
    assert right > 5


def saying(said: bytes, data: bytes) -> bytes:
    return said


def test_a_silent_or_foreign_device_is_told_apart() -> None:
    with FakeLink(None) as link, pytest.raises(DeviceError, match="does not answer; check that it is flashed"):
        Target(link, link.clock)
    for said, message in ((b"m-init-done\r\nm-ready\r\n", "MLPerf Tiny dialogue"), (b"Hello\r\n", "something else")):
        with (
            FakeLink(fake_firmware(), functools.partial(saying, said)) as link,
            pytest.raises(DeviceError, match=message),
        ):
            Target(link, link.clock)


def test_a_link_that_is_not_open_says_so() -> None:
    for link in (FakeLink(None), SerialLink("anything")):
        with pytest.raises(DeviceError, match="is not open"):
            link.read(1, 0.0)


def test_ports_that_cannot_be_opened_say_why(tmp_path: Path) -> None:
    pytest.importorskip("serial")
    with pytest.raises(DeviceError, match="there is no serial port"):
        SerialLink(str(tmp_path / "ttyNOTHING")).__enter__()
    plain = tmp_path / "file"
    plain.write_text("")
    with pytest.raises(DeviceError, match="cannot be opened"):
        SerialLink(str(plain)).__enter__()
    master, slave = pty.openpty()
    with SerialLink(os.ttyname(slave)), pytest.raises(DeviceError, match="in use by another program"):
        SerialLink(os.ttyname(slave)).__enter__()
    os.close(master)
    os.close(slave)
