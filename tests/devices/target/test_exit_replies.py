"""What a device says of its early exits is checked against what it said of itself."""

from __future__ import annotations

import pytest

from multigraft import serial_protocol as protocol
from multigraft.devices.target import replies
from multigraft.devices.target.target_info import TargetExit

TASKS, OUTPUTS = ("garment", "digit"), ("int8", "int8", "int8", "int32", "int8")
SAID = (2, 1, 1, 4, 3, 2, 1, 0, 100, 40, 3, 1, b"exit_digit")


def test_an_exit_is_read() -> None:
    count, name, found = replies.exit_of(TASKS, OUTPUTS)(protocol.EXIT_REPLY.pack(*SAID))
    assert (count, name) == (2, "exit_digit")
    assert found == TargetExit("digit", 1, 4, 3, 2, True, False, 100, 40, 3, 1)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, 0, "of 0 exits"),
        (0, 33, "of 33 exits"),
        (1, 2, "of task 2"),
        (2, 0, "exit 0 of"),
        (2, 3, "exit 3 of"),
        (3, 5, "the outputs 5, 3 and 2"),
        (4, 255, "the outputs 4, 255 and 2"),
        (5, 5, "the outputs 4, 3 and 5"),
        (4, 2, "that int8 in output 2 tells"),
        (12, b"\x1b[2J", "a name that is no text"),
    ],
)
def test_what_no_exit_can_be_is_refused(place: int, value: int | bytes, said: str) -> None:
    fields = [*SAID]
    fields[place] = value
    with pytest.raises(replies.ReplyError, match=said):
        replies.exit_of(TASKS, OUTPUTS)(protocol.EXIT_REPLY.pack(*fields))


def test_a_reply_of_another_length_is_refused() -> None:
    with pytest.raises(replies.ReplyError, match="55 bytes"):
        replies.exit_of(TASKS, OUTPUTS)(protocol.EXIT_REPLY.pack(*SAID)[:-1])
