"""What a device says of what it learns is checked before it is used; what is refused is a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multigraft import serial_protocol as protocol
from multigraft.devices.target import replies
from multigraft.devices.target.board_learner import BoardLearner
from multigraft.devices.target.fake_link import FakeLink
from multigraft.devices.target.golden import check_untaught
from multigraft.devices.target.target import Target
from multigraft.devices.target.target_info import TargetLearning
from multigraft.errors import DeviceError, UsageError
from multigraft.serial_protocol import Kind, Message
from tests.devices.target.test_link import fake_firmware

TASKS = ("garment", "digit")
SUMS, LAYER = 8 * 3 * 5 + 2 * 5 * 6 + 4 * 3, 3 * (12 + 4)
IDENTITY = 0x89ABCDEF
SAID = (1, 1, 3, 4, 100, 2, 7, SUMS, LAYER, IDENTITY)


def test_what_is_learnt_is_read() -> None:
    found = replies.learning(TASKS)(protocol.LEARNING_REPLY.pack(*SAID))
    assert found == TargetLearning("digit", True, 3, 4, 100, 2, 7, SUMS, LAYER, IDENTITY)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({0: 2}, "task 2, 3 classes"),
        ({2: 0}, "task 1, 0 classes"),
        ({3: 0}, "3 classes and 0 features"),
        ({3: 65535}, f"{SUMS} and {LAYER} bytes for 3 classes of 65535 features"),
        ({7: SUMS + 1}, f"{SUMS + 1} and {LAYER} bytes"),
        ({7: 2**32 - 1}, "4294967295 and"),
        ({8: 0}, f"{SUMS} and 0 bytes"),
        ({2: 65535, 3: 15, 7: 65535 * 132 + 2 * 16 * 17, 8: 65535 * 27}, "8651164 bytes that it learnt"),
    ],
)
def test_what_no_board_can_learn_is_refused(changed: dict[int, int], said: str) -> None:
    fields = [changed.get(place, value) for place, value in enumerate(SAID)]
    with pytest.raises(replies.ReplyError, match=said):
        replies.learning(TASKS)(protocol.LEARNING_REPLY.pack(*fields))


class Teachable(FakeLink):
    """A cable to a device that says it learns; it answers each of some kinds with the payloads given, in turn."""

    def __init__(self, answers: dict[Kind, list[bytes]], learns: bool = True) -> None:
        super().__init__(fake_firmware(), self._changed)
        self._answers, self._learns = answers, learns
        self._asked, self._sent = Kind.INFO, protocol.Decoder()

    def _changed(self, data: bytes) -> bytes:
        return b"".join(map(self._one, protocol.Decoder().feed(data)))

    def _one(self, message: Message) -> bytes:
        if not message.kind & protocol.REPLY:
            self._asked = Kind(message.kind)
        elif self._asked == Kind.INFO and self._learns:
            fields = list(protocol.INFO_REPLY.unpack(message.payload))
            fields[2] |= protocol.FLAG_LEARNS
            message = replace(message, payload=protocol.INFO_REPLY.pack(*fields))
        elif given := self._answers.get(self._asked):
            payload = given.pop(0) if len(given) > 1 else given[0]
            message = replace(message, kind=self._asked | protocol.REPLY, payload=payload)
        return protocol.encode(message)


def learner(answers: dict[Kind, list[bytes]]) -> BoardLearner:
    link = Teachable(answers).__enter__()
    return BoardLearner(Target(link, link.clock))


def state(sums: int = SUMS, solved: int = 0) -> bytes:
    return protocol.LEARNING_REPLY.pack(0, solved, 3, 4, 100, 2, 7, sums, LAYER, IDENTITY)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "answers LEARN with 0 bytes where there have to be 30"),
        (state(sums=1 << 31), "answers LEARN with 2147483648 and 48 bytes for 3 classes of 4 features; flash firmware"),
    ],
)
def test_a_reply_to_learn_that_is_none_is_a_sentence(answer: bytes, says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        learner({Kind.LEARN: [answer]}).learn(1)


def test_other_replies_that_are_none_are_sentences() -> None:
    lying = learner({
        Kind.LEARNING: [state()], Kind.SOLVE: [b"\0" * 3], Kind.UNLEARN: [b"\0"], Kind.READ_LEARNT: [b"\0" * SUMS],
        Kind.WRITE_LEARNT: [b"\0"],
    })  # fmt: skip
    assert lying.sums() == b"\0" * SUMS
    with pytest.raises(DeviceError, match=f"answers READ_LEARNT with {SUMS} bytes where there have to be {LAYER}"):
        lying.layer()
    with pytest.raises(DeviceError, match="answers SOLVE with 3 bytes where there have to be 12"):
        lying.solve()
    with pytest.raises(DeviceError, match="answers UNLEARN with 1 bytes where there have to be 0"):
        lying.forget()
    with pytest.raises(DeviceError, match="answers WRITE_LEARNT with 1 bytes where there have to be 0"):
        lying.put_back(b"\0" * SUMS, IDENTITY)
    with pytest.raises(UsageError, match=f"sums of 2 bytes do not fit the device at fake link, whose have {SUMS}"):
        lying.put_back(b"\0" * 2, IDENTITY)
    with pytest.raises(UsageError, match="there is no class 65536; count classes from 0 on"):
        lying.learn(65536)


def test_firmware_that_learns_nothing_is_told_and_passes_as_untaught() -> None:
    with Teachable({}, learns=False) as link:
        target = Target(link, link.clock)
        check_untaught(target)
        with pytest.raises(DeviceError, match="learns nothing; generate it with: multigraft firmware MODEL --learn"):
            BoardLearner(target)
    with Teachable({Kind.LEARNING: [state(), state(solved=1)]}) as link:
        target = Target(link, link.clock)
        check_untaught(target)
        with pytest.raises(
            DeviceError, match="of 'mean' was solved anew on the device at fake link, which answers otherwise"
        ):
            check_untaught(target)
