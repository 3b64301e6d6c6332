"""A hostile board at the other end of a real pseudo-terminal, in a process of its own."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import numpy as np

from multigraft import serial_protocol as protocol
from multigraft.devices.target.fake_link import FakeFirmware
from multigraft.serial_protocol import Kind, Message
from multigraft.tensors.arrays import Array
from tests.attack.boards.hostile_boards import Board, Sent, Talk, frame
from tests.devices.target.test_link import fake_firmware

PICTURE = np.arange(12 * 10 * 3, dtype=np.uint8).reshape(12, 10, 3)


def faithful(board: str) -> FakeFirmware:
    """Firmware that can do all that a host asks for."""
    firmware = fake_firmware()
    firmware.board = board
    firmware.step_cycles = range(100, 190)
    firmware.slot = 0
    firmware.camera = lambda: PICTURE
    firmware.forget = lambda: None
    rows = 0

    def ears(samples: Array, forget: bool) -> tuple[int, list[Array]]:
        nonlocal rows
        rows = (0 if forget else rows) + len(samples) // 40
        return rows, [np.full((1, 4, 4, 1), rows & 127, np.int8)]

    firmware.ears = ears
    return firmware


class Answers:
    """What a hostile board sends for what it receives.

    Args:
        board: The hostile one; None answers faithfully.
        firmware: What would answer faithfully.
    """

    def __init__(self, board: Board | None, firmware: FakeFirmware) -> None:
        self._board, self._firmware = board, firmware
        self._requests, self._replies = protocol.Decoder(), protocol.Decoder()
        self._chance = random.Random(board.seed if board else 0)
        self._number = 0
        self._before: Message | None = None

    def to(self, data: bytes) -> Iterator[bytes | float | None]:
        """Bytes to send, seconds to be silent, or None to be unplugged."""
        for request in self._requests.feed(data):
            for reply in self._replies.feed(self._firmware.receive(frame(request))):
                yield from self._changed(request, reply)
                self._before = reply

    def _changed(self, request: Message, reply: Message) -> Sent:
        board = self._board
        kind = Kind.STREAM_EVENT if reply.kind == Kind.STREAM_EVENT | protocol.REPLY else request.kind
        if board is None or kind not in board.kinds:
            return [frame(reply)]
        self._number += 1
        if self._number <= board.first:
            return [frame(reply)]
        return board.change(Talk(request, reply, self._number - 1, self._before, self._chance))


def serve(master: int, answers: Answers) -> None:
    """Answer at the master side of a pseudo-terminal until it is unplugged or this process is ended."""
    while True:
        for piece in answers.to(os.read(master, 4096)):
            if piece is None:
                return
            if isinstance(piece, float):
                time.sleep(piece)
                continue
            while piece:
                piece = piece[os.write(master, piece) :]
