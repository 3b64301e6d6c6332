"""A device that answers something else, too much, too slowly or not at all; time passes only while nothing arrives."""

from __future__ import annotations

import itertools
import os
import pty
import tty
from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np
import pytest

from multigraft import serial_protocol as protocol
from multigraft.devices.cameras.serial_camera import SerialCamera
from multigraft.devices.target.board_updater import BoardUpdater
from multigraft.devices.target.fake_link import MOST_IMAGE_BYTES, FakeFirmware, FakeLink
from multigraft.devices.target.golden import verify_hearing, verify_target
from multigraft.devices.target.image_info import ImageInfo
from multigraft.devices.target.link import TIMEOUT_S
from multigraft.devices.target.requests import MOST_EVENTS, SLOWEST_BYTES_PER_S
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.errors import DeviceError, InputError, UsageError
from multigraft.serial_protocol import Kind, Message
from multigraft.tensors.arrays import Array
from tests.devices.target.test_link import fake_firmware


class Replies:
    """Changes what a fake device sends, message by message.

    Args:
        change: Gives the bytes in place of a message; None leaves it.
    """

    def __init__(self, change: Callable[[Message], bytes | None]) -> None:
        self._change, self._decoder = change, protocol.Decoder()
        self.on = True

    def __call__(self, data: bytes) -> bytes:
        messages = self._decoder.feed(data)
        if not self.on or any(not message.kind & protocol.REPLY for message in messages):
            return data
        return b"".join(self._changed(message) for message in messages)

    def _changed(self, message: Message) -> bytes:
        changed = self._change(message)
        return protocol.encode(message) if changed is None else changed


def only(kind: Kind, payload: bytes) -> Callable[[Message], bytes | None]:
    """Replies to requests of one kind get another payload."""

    def change(message: Message) -> bytes | None:
        is_meant = message.kind == kind | protocol.REPLY
        return protocol.encode(replace(message, payload=payload)) if is_meant else None

    return change


def target_of(change: Callable[[Message], bytes | None], firmware: FakeFirmware | None = None) -> Target:
    link = FakeLink(firmware or fake_firmware(), Replies(change)).__enter__()
    return Target(link, link.clock)


@pytest.mark.parametrize("timeout_s", [TIMEOUT_S, 600])
def test_a_board_that_starts_late_is_asked_again_soon_however_much_time_it_is_given(timeout_s: float) -> None:
    """What comes before its port is on is lost, at its first start and after a reset."""
    lost: list[bytes] = [b""] * 3
    link = FakeLink(fake_firmware(), Replies(lambda message: lost.pop() if lost else None)).__enter__()
    before = link.clock()
    target = Target(link, link.clock, timeout_s)
    assert target.info.model == "tiny" and not lost and link.clock() - before < 0.5
    reset = Kind.RESET | protocol.REPLY
    link = FakeLink(fake_firmware(), Replies(lambda m: lost.pop() if lost and m.kind != reset else None)).__enter__()
    target = Target(link, link.clock, timeout_s)
    lost += [b""] * 3
    before = link.clock()
    target.reset()
    assert target.info.model == "tiny" and not lost and link.clock() - before < 0.5


def test_a_reply_to_something_else_is_told_from_silence() -> None:
    def as_memory(message: Message) -> bytes | None:
        is_meant = message.kind == Kind.INFER | protocol.REPLY
        return protocol.encode(replace(message, kind=Kind.MEMORY | protocol.REPLY)) if is_meant else None

    target = target_of(as_memory)
    with pytest.raises(
        DeviceError, match="the device at fake link answers INFER with a reply to MEMORY; flash firmware"
    ):
        target.infer(tasks=["mean"])


@pytest.mark.parametrize(
    ("payload", "says"), [(b"\x63", "unknown number 99"), (b"", "0 bytes where there have to be 1")]
)
def test_an_error_that_nobody_knows_is_a_sentence(payload: bytes, says: str) -> None:
    def error(message: Message) -> bytes | None:
        is_meant = message.kind == Kind.INFER | protocol.REPLY
        return protocol.encode(Message(Kind.ERROR | protocol.REPLY, message.sequence, payload)) if is_meant else None

    with pytest.raises(DeviceError, match=says):
        target_of(error).infer(tasks=["mean"])


@pytest.mark.parametrize("timeout_s", [TIMEOUT_S, 2.0, 40.0])
def test_a_device_that_falls_silent_is_given_up_after_the_time_limit(timeout_s: float) -> None:
    with FakeLink(fake_firmware()) as link:
        target = Target(link, link.clock, timeout_s)
        link._firmware = None
        before = link.clock()
        with pytest.raises(DeviceError, match=f"stopped answering, or takes longer than {timeout_s:g} s; .*--timeout"):
            target.infer(tasks=["mean"])
        assert timeout_s / 2 < link.clock() - before <= timeout_s + 0.01


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_a_time_limit_is_a_number_of_seconds(timeout_s: float) -> None:
    with FakeLink(fake_firmware()) as link, pytest.raises(UsageError, match="give it up to 86400"):
        Target(link, link.clock, timeout_s)


class SlowLink(FakeLink):
    """A cable that carries so many bytes per second."""

    bytes_per_s = 1e9

    def read(self, limit: int, timeout_s: float) -> bytes:
        data = super().read(limit, timeout_s)
        self._now_s += len(data) / self.bytes_per_s
        return data


def test_a_large_picture_takes_its_time_over_a_slow_line_and_none_over_a_slower_one() -> None:
    picture = np.arange(300 * 400, dtype=np.uint8).reshape(300, 400)
    firmware = FakeFirmware([], [], {}, lambda arrays: [], camera=lambda: picture)
    link = SlowLink(firmware)
    link.bytes_per_s = 1.1 * SLOWEST_BYTES_PER_S
    with SerialCamera(link, link.clock) as camera:
        before = link.clock()
        np.testing.assert_array_equal(next(iter(camera)), picture)
        assert link.clock() - before > 2 * TIMEOUT_S
        link.bytes_per_s = SLOWEST_BYTES_PER_S / 2
        before = link.clock()
        with pytest.raises(DeviceError, match="takes longer than 8 s"):
            next(iter(camera))
        assert link.clock() - before < 3 * TIMEOUT_S


def test_events_that_nobody_asked_for_are_forgotten() -> None:
    event = protocol.encode(Message(Kind.STREAM_EVENT | protocol.REPLY, 0, bytes(100)))

    def flood(message: Message) -> bytes | None:
        return event * (2 * MOST_EVENTS) + protocol.encode(message) if message.kind == Kind.MEMORY | 0x80 else None

    target = target_of(flood)
    assert target.memory().arena == 512
    assert len(target._requests._events) <= MOST_EVENTS
    assert len(list(target.stream(3))) == 3


def test_an_event_that_is_lost_is_noticed() -> None:
    def second_lost(message: Message) -> bytes | None:
        return b"" if message.kind == Kind.STREAM_EVENT | protocol.REPLY and message.sequence == 1 else None

    answers = target_of(second_lost).stream(5, ["mean"])
    next(answers)
    with pytest.raises(DeviceError, match="lost part of a stream; start the stream again"):
        next(answers)


def test_a_stream_shows_whole_numbers_of_an_output_that_is_cut() -> None:
    plain = fake_firmware()
    wide = replace(plain.outputs[1], dtype="float32", bytes=1200, scale=0.0, zero_point=0)
    values = np.arange(300, dtype=np.float32).reshape(1, 300)

    def run(arrays: list[Array]) -> list[Array]:
        return [np.zeros((1, 4), np.int8), values]

    firmware = replace(plain, outputs=[plain.outputs[0], wide], run=run)
    (answer,) = target_of(lambda message: None, firmware).stream(1)
    shown = answer.outputs["difference"]
    np.testing.assert_array_equal(shown, values[0, : len(shown)])
    assert len(shown) == 55


@pytest.mark.parametrize("steps", [1, 59, 60, 61, 90, 255, 256, 299])
def test_every_step_that_can_be_asked_for_is_shown(steps: int) -> None:
    firmware = replace(fake_firmware(), step_cycles=range(steps))
    assert target_of(lambda message: None, firmware).step_cycles() == list(range(steps))


def test_more_steps_than_can_be_asked_for_are_no_traceback() -> None:
    firmware = replace(fake_firmware(), step_cycles=range(300))
    with pytest.raises(DeviceError, match="too many steps to ask for; count them with: multigraft firmware report"):
        target_of(lambda message: None, firmware).step_cycles()


def test_a_stream_of_no_possible_length_is_refused() -> None:
    target = target_of(lambda message: None)
    for count in (-1, 2**32):
        with pytest.raises(UsageError, match="a stream cannot have"):
            next(target.stream(count))


def test_updates_go_to_the_other_slot_and_a_device_that_names_a_third_is_refused() -> None:
    firmware = replace(fake_firmware(), slot=0)
    target = target_of(lambda message: None, firmware)
    image = bytes(1000) + ImageInfo(firmware.run_addresses[1], "mps2-an386").packed()
    updater = BoardUpdater(target)
    assert updater.update([image]) == 1
    assert updater.runs([image])
    assert updater.update([image]) == 0
    assert firmware.slot == 0
    for kind, reply, says in (
        (Kind.UPDATE_BEGIN, b"\2", "UPDATE_BEGIN with slot 2 of two"),
        (Kind.UPDATE_SLOTS, protocol.UPDATE_SLOTS_REPLY.pack(2, 0, 0, 0, 0), "UPDATE_SLOTS with slot 2 of two"),
    ):
        target = target_of(only(kind, reply), replace(fake_firmware(), slot=0))
        with pytest.raises(DeviceError, match=f"answers {says}"):
            BoardUpdater(target).update([image])


def test_an_image_that_does_not_fit_the_free_slot_is_refused_before_anything_is_erased() -> None:
    firmware = replace(fake_firmware(), slot=0, run_addresses=(0x0800_4200, 0x0808_0200))
    target = target_of(lambda message: None, firmware)
    updater = BoardUpdater(target)
    first, second, other = (
        bytes(64) + info.packed()
        for info in (
            ImageInfo(0x0800_4200, "mps2-an386"),
            ImageInfo(0x0808_0200, "mps2-an386"),
            ImageInfo(0x0808_0200, "netduinoplus2-slots"),
        )
    )
    with pytest.raises(DeviceError, match="is a mps2-an386, the image is for a netduinoplus2-slots; choose the right"):
        updater.update([other])
    with pytest.raises(DeviceError, match="runs images at 0x08080200, not at 0x08004200; leave out --image"):
        updater.update([first])
    with pytest.raises(InputError, match=r"the image is no image for a slot; name the \.bin file"):
        updater.update([bytes(96)])
    with pytest.raises(DeviceError, match="is 32 bytes larger than a slot"):
        updater.update([bytes(MOST_IMAGE_BYTES) + second[-32:]])
    assert not {Kind.UPDATE_BEGIN, Kind.UPDATE_WRITE} & set(firmware.received)
    for slot in (1, 0):
        for _ in range(2):
            assert updater.update([first, second]) == slot
            assert not updater.runs([first, second])
        target.reset()
        assert updater.runs([first, second])


def test_what_goes_through_a_tensor_lies_within_its_type() -> None:
    sums = protocol.STATISTICS_REPLY.pack(1, 16, -129, 3, 0, 0)
    with pytest.raises(DeviceError, match="values from -129 to 3 of 'frame', which is int8"):
        target_of(only(Kind.STATISTICS, sums)).statistics()


def golden(cases: int = 3) -> tuple[dict[str, Array], dict[str, Array]]:
    firmware = fake_firmware()
    frames = np.random.default_rng(1).integers(-128, 128, (cases, 1, 4, 4, 1), dtype=np.int8)
    answers = [firmware.run([frame]) for frame in frames]
    outputs = {t.name: np.array([a[n] for a in answers], np.int8) for n, t in enumerate(firmware.outputs)}
    return {"frame": frames}, outputs


def test_golden_vectors_of_another_size_prove_nothing() -> None:
    target = target_of(lambda message: None)
    inputs, outputs = golden()
    assert verify_target(target, inputs, outputs).wrong == ()
    for wrong in (
        {"sum": outputs["sum"][:, :, :3]},
        {"sum": outputs["sum"].astype(np.int16)},
        {"sum": outputs["sum"][:2]},
        {"sum": np.int8(3)},
        {name: array[:0] for name, array in outputs.items()},
        {name: array[:2] for name, array in outputs.items()},
    ):
        with pytest.raises(InputError, match=r"golden vectors .*; generate the project again"):
            verify_target(target, inputs, {**outputs, **{name: np.asarray(array) for name, array in wrong.items()}})
    with pytest.raises(InputError, match=r"golden vectors .*; generate the project again"):
        verify_target(target, {"frame": inputs["frame"][:0]}, {name: array[:0] for name, array in outputs.items()})


def test_golden_sounds_of_another_size_prove_nothing() -> None:
    frame = golden(1)[0]["frame"][0]
    firmware = replace(fake_firmware(), ears=lambda samples, forget: (len(samples), [frame]))
    target = target_of(lambda message: None, firmware)
    outputs = golden(1)[1]
    sounds = np.zeros((1, 30), np.int16)
    firmware_answers = target.infer({"frame": frame}).outputs
    outputs = {name: firmware_answers[name][None] for name in outputs}
    assert verify_hearing(target, sounds, outputs).wrong == ()
    for samples, wanted in (
        (sounds[0], outputs),
        (sounds[:0], outputs),
        (sounds, {}),
        (sounds, {"other": outputs["sum"]}),
        (sounds, {"sum": outputs["sum"][:, :, :2]}),
    ):
        with pytest.raises(InputError, match=r"golden .*; generate the project again"):
            verify_hearing(target, samples, wanted)


def test_golden_vectors_find_tensors_whose_names_a_device_cannot_keep() -> None:
    plain = fake_firmware()
    names = ("größe/" + "x" * 40, "sum\n")
    kept = [protocol.name_on_device(name) for name in names]
    assert kept == ["gr??e/" + "x" * 25, "sum?"]
    firmware = replace(plain, outputs=[replace(t, name=name) for t, name in zip(plain.outputs, kept, strict=True)])
    inputs, outputs = golden()
    named = dict(zip(names, outputs.values(), strict=True))
    assert verify_target(target_of(lambda message: None, firmware), inputs, named).wrong == ()
    named["sum\n"] = named["sum\n"].copy()
    named["sum\n"][1, 0, 7] ^= 1
    assert verify_target(target_of(lambda message: None, firmware), inputs, named).wrong == ((1, "sum\n"),)


def test_tensors_that_a_device_calls_the_same_are_not_taken_for_each_other() -> None:
    plain = fake_firmware()
    firmware = replace(plain, outputs=[replace(t, name="long" * 10 + t.name) for t in plain.outputs])
    with pytest.raises(
        DeviceError, match="several outputs of one name, of which it keeps 31 characters; give them shorter"
    ):
        target_of(lambda message: None, firmware)


def test_a_device_that_reads_nothing_more_is_given_up() -> None:
    pytest.importorskip("serial")
    master, slave = pty.openpty()
    tty.setraw(slave)
    with (
        SerialLink(os.ttyname(slave)) as link,
        pytest.raises(DeviceError, match="takes no more bytes since 2 s; reset"),
    ):
        link.write(bytes(1 << 20))
    os.close(master)
    os.close(slave)


def test_a_device_that_is_unplugged_is_a_sentence_at_every_step() -> None:
    pytest.importorskip("serial")
    uses: tuple[Callable[[SerialLink], object], ...] = (
        lambda link: link.write(b"x"),
        lambda link: link.read(1, 0.1),
        lambda link: Target(link),
    )
    for use in uses:
        master, slave = pty.openpty()
        tty.setraw(slave)
        name = os.ttyname(slave)
        with pytest.raises(DeviceError, match=f"{name} stopped working"), SerialLink(name) as link:
            os.close(master)
            os.close(slave)
            use(link)


def test_leaving_a_stream_by_an_error_stops_the_device_and_waits_for_nothing() -> None:
    firmware = fake_firmware()
    with FakeLink(firmware) as link:
        answers = Target(link, link.clock).stream(10)
        next(answers)
        before, asked = link.clock(), len(firmware.received)
        assert isinstance(answers, Generator)
        with pytest.raises(KeyboardInterrupt):
            answers.throw(KeyboardInterrupt)
        assert link.clock() == before
        assert firmware.received[asked:] == [Kind.STREAM]
        assert list(itertools.islice(answers, 1)) == []
