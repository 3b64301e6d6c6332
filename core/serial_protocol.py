"""The serial protocol between a workstation and generated firmware: one table, from which the C header is written too.

A message goes over the line as one frame: COBS encoded (Cheshire and Baker, IEEE/ACM Transactions on Networking 7(2),
1999), with a 0 byte behind it::

    version u8 | kind u8 | sequence u16 | payload, at most MAX_PAYLOAD bytes | CRC-32 of all before, u32

All numbers are little-endian; the CRC is the one of zlib and Ethernet. As no byte within an encoded frame is 0, a
receiver that starts anywhere or reads garbage is in step again after the next 0 byte; what is no whole frame with a
right CRC is dropped without an answer, and the workstation sends again. A request whose sequence number and CRC are
those of the last one gets the last reply again and is not executed twice, except INFO, which starts a session.
A reply has the request's sequence number and its kind with REPLY set; ERROR replies carry an :class:`ErrorCode`.
"""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass

VERSION = 1
MAX_PAYLOAD = 240
REPLY = 0x80
DELIMITER = b"\0"

HEADER = struct.Struct("<BBH")
CRC = struct.Struct("<I")
MAX_FRAME = HEADER.size + MAX_PAYLOAD + CRC.size
MAX_ENCODED = MAX_FRAME + MAX_FRAME // 254 + 1
"""Bytes of the longest encoded frame without its delimiter."""


class Kind(enum.IntEnum):
    """What a request asks, or that a frame is an error or an event."""

    INFO = 0x01
    DESCRIBE = 0x02
    WRITE_INPUT = 0x03
    INFER = 0x04
    READ_OUTPUT = 0x05
    STREAM = 0x06
    STATISTICS = 0x07
    MEMORY = 0x08
    RESET_REASON = 0x09
    RESET = 0x0A
    PROFILE = 0x0B
    FORGET = 0x0C
    CAPTURE = 0x0D
    READ_PICTURE = 0x0E
    HEAR = 0x0F
    UPDATE_BEGIN = 0x10
    UPDATE_WRITE = 0x11
    UPDATE_COMMIT = 0x12
    EXIT = 0x13
    LEARNING = 0x14
    LEARN = 0x15
    SOLVE = 0x16
    UNLEARN = 0x17
    READ_LEARNT = 0x18
    WRITE_LEARNT = 0x19
    UPDATE_SLOTS = 0x1A
    ERROR = 0x7F
    STREAM_EVENT = 0x40


class ErrorCode(enum.IntEnum):
    """Why a request was refused."""

    UNKNOWN_KIND = 1
    WRONG_VERSION = 2
    WRONG_LENGTH = 3
    OUT_OF_RANGE = 4
    NO_SUCH_TASK = 5
    MODEL_FAILED = 6
    FLASH_FAILED = 7
    WRONG_IMAGE = 8
    NO_CAMERA = 9
    CAMERA_FAILED = 10
    NO_SUCH_CLASS = 11
    NO_FRAME = 12
    SUMS_FULL = 13
    NOT_SOLVED = 14
    OTHER_IMAGE = 15
    NOT_IN_SLOT = 16


class Described(enum.IntEnum):
    """What DESCRIBE and STATISTICS can be asked about."""

    INPUT = 0
    OUTPUT = 1
    TASK = 2


class Learnt(enum.IntEnum):
    """What READ_LEARNT can be asked for."""

    SUMS = 0
    LAYER = 1


class DataType(enum.IntEnum):
    """Element type of a tensor."""

    INT8 = 0
    UINT8 = 1
    INT16 = 2
    INT32 = 3
    FLOAT32 = 4
    BOOL = 5


class ResetReason(enum.IntEnum):
    """Why the device started."""

    UNKNOWN = 0
    POWER_ON = 1
    PIN = 2
    SOFTWARE = 3
    WATCHDOG = 4
    FAULT = 5


INFO_REPLY = struct.Struct("<BHHBBBI32s32s24s")
"""version, max payload, flags, inputs, outputs, tasks, clock_hz, SHA-256 of the model, board, name (0-padded)."""
TENSOR_REPLY = struct.Struct("<BBIfi6I32s")
"""dtype, rank, bytes, scale, zero point, shape (0-padded), name (0-padded)."""
TASK_REPLY = struct.Struct("<I32s")
"""Mask of its outputs, name (0-padded)."""
WRITE_REQUEST = struct.Struct("<BI")
"""Input number, byte offset; the data follow."""
INFER_REQUEST = struct.Struct("<I")
"""Mask of tasks."""
INFER_REPLY = struct.Struct("<IQI")
"""Mask of tasks answered, processor cycles, microseconds."""
READ_REQUEST = struct.Struct("<BIB")
"""Output number, byte offset, bytes; the reply is the data."""
STREAM_REQUEST = struct.Struct("<II")
"""Mask of tasks, number of events (0 stops)."""
STREAM_EVENT = struct.Struct("<IQIBB")
"""As INFER_REPLY, then output number and bytes of it that follow; one frame per output; sequence counts events."""
STATISTICS_REQUEST = struct.Struct("<BBB")
"""Described.INPUT or OUTPUT, number, 1 to clear afterwards."""
STATISTICS_REPLY = struct.Struct("<IIiiqQ")
"""Inferences, elements, smallest, largest, sum, sum of squares of the stored int8 values since start or clearing."""
MEMORY_REPLY = struct.Struct("<IIIIII")
"""Bytes of flash used, flash there, RAM used statically, RAM there, arena, peak of the stack."""
RESET_REPLY = struct.Struct("<BII")
"""ResetReason, then for FAULT the program counter and the fault status."""
IMAGE_MAGIC = 0x676D696D
IMAGE_INFO = struct.Struct("<II24s")
"""The last bytes of an image for a board with two slots: IMAGE_MAGIC, the address it runs at, board (0-padded)."""
UPDATE_SLOTS_REPLY = struct.Struct("<BIIII")
"""The slot that runs (NO_SLOT: none), the address that an image for the other one runs at, bytes it may have; bytes and
CRC-32 of the image that runs, 0 bytes where another one runs from the next start on."""
NO_SLOT = 0xFF
UPDATE_BEGIN_REQUEST = struct.Struct("<IIII24s")
"""Bytes of the image, its CRC-32 and its IMAGE_INFO; the reply is the slot number, u8."""
UPDATE_WRITE_REQUEST = struct.Struct("<I")
"""Byte offset; the data follow."""
CAPTURE_REPLY = struct.Struct("<HHB")
"""Height, width and channels (1 grey, 3 RGB) of the picture just taken, which is held until the next CAPTURE."""
READ_PICTURE_REQUEST = struct.Struct("<IB")
"""Byte offset, bytes; the reply is the data: rows from the top, pixels from the left, channels together."""
HEAR_REQUEST = struct.Struct("<B")
"""1 to forget all samples before; samples follow, i16. The next INFER runs on the last rows of features."""
HEAR_REPLY = struct.Struct("<I")
"""Rows completed since all samples were forgotten."""
EXIT_REQUEST = struct.Struct("<B")
"""Number of an early exit."""
EXIT_REPLY = struct.Struct("<8B4I32s")
"""Early exits in all, bit of the task, number among its exits (from 1 on), outputs of the exit's answer, of the number
of the exit that answered (0: none) and of the whole network's answer, 1 while it is open, 1 while its promise is in
doubt; then frames that reached it, took it, were audited and disagreed since start or FORGET; name (0-padded)."""
LEARNING_REQUEST = struct.Struct("<H")
"""Number of a class, or KEEP."""
LEARNING_REPLY = struct.Struct("<BBHHIIIIII")
"""Bit of the task that learns, 1 where its layer was solved anew, classes, inputs of its last layer; frames that the
sums can take, those of the class asked for (of KEEP: all) and all that are in them; bytes of the sums and of the layer;
a CRC-32 of the layer as generated and of what it knows, which tells sums of one firmware from those of another."""
LEARN_REQUEST = struct.Struct("<H")
"""Class of the last frame answered, or KEEP; the reply is LEARNING's. A frame is learnt once."""
SOLVE_REPLY = struct.Struct("<QI")
"""Processor cycles and microseconds. The outputs of the last inference are gone."""
READ_LEARNT_REQUEST = struct.Struct("<BIB")
"""Learnt.SUMS or LAYER, byte offset, bytes; the reply is the data."""
WRITE_LEARNT_REQUEST = struct.Struct("<I")
"""Byte offset in the sums; the data follow. The next SOLVE solves from them."""
ERROR_REPLY = struct.Struct("<B")

PROFILE_REQUEST = struct.Struct("<B")
"""First step; the reply is the cycles of it and those after it that fit, u32 each."""

FLAG_UPDATE = 1
"""The device takes updates into its second slot."""
FLAG_PROFILE = 2
"""The device measures every step of the model."""
FLAG_VARIABLES = 4
"""The model keeps variables between inferences, which FORGET sets to their initial values."""

FLAG_SOUND = 8
"""The model hears: HEAR takes its samples."""

FLAG_EXITS = 16
"""Tasks may leave early: EXIT tells of it, and FORGET opens all exits, with new counts and the same draw of audits."""

FLAG_LEARNS = 32
"""The last layer of a task is solved anew from frames whose class LEARN says."""

KEEP = 0xFFFF
"""In place of a class: the frame is of one that was known before, and is to be answered as before."""

MOST_TENSORS = 32
"""Inputs, outputs or tasks: a mask has as many bits."""
MOST_DIMENSIONS = 6
NAME_BYTES = 32
"""Bytes that a device keeps of a tensor's or a task's name, with a 0 at the end."""


def kind_name(kind: int) -> str:
    """What a request is called in messages."""
    known = {entry.value: entry.name for entry in Kind}
    return known.get(kind, f"request {kind}")


def firmware_text(text: str) -> str:
    """``text`` as it stands in firmware: ASCII, printable."""
    ascii_only = text.encode("ascii", "replace").decode()
    return "".join(c if c.isprintable() else "?" for c in ascii_only)


def name_on_device(name: str) -> str:
    """What a device says of a name: no more of it than it keeps."""
    return firmware_text(name)[: NAME_BYTES - 1]


@dataclass(frozen=True)
class Message:
    """A request, a reply or an event; one frame on the line."""

    kind: int
    sequence: int
    payload: bytes = b""
    version: int = VERSION


def cobs_encode(data: bytes) -> bytes:
    """``data`` without any 0 byte, at most one byte longer per 254."""
    out = bytearray()
    for group in data.split(b"\0"):
        while len(group) >= 254:
            out += b"\xff" + group[:254]
            group = group[254:]
        out.append(len(group) + 1)
        out += group
    return bytes(out)


def cobs_decode(data: bytes) -> bytes | None:
    """What was encoded, or None if ``data`` is no encoding of anything."""
    out = bytearray()
    position = 0
    while position < len(data):
        code = data[position]
        group = data[position + 1 : position + code]
        if code == 0 or len(group) != code - 1 or 0 in group:
            return None
        out += group
        position += code
        if code != 255 and position < len(data):
            out.append(0)
    return bytes(out)


def encode(message: Message) -> bytes:
    """The frame to send for a message, with its delimiter."""
    if len(message.payload) > MAX_PAYLOAD:
        raise ValueError(f"payload of {len(message.payload)} bytes; at most {MAX_PAYLOAD} fit")
    body = HEADER.pack(message.version, message.kind, message.sequence & 0xFFFF) + message.payload
    return cobs_encode(body + CRC.pack(zlib.crc32(body))) + DELIMITER


class Decoder:
    """Finds messages in a stream of bytes that may begin anywhere and hold garbage.

    Attributes:
        dropped: Number of pieces between delimiters that were no frame.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._piece = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages whose frames ``data`` completes, in order."""
        messages = []
        for byte in data:
            if byte != 0:
                # One byte more than the longest frame marks the piece as too long; the rest need not be kept.
                if len(self._piece) <= MAX_ENCODED:
                    self._piece.append(byte)
            elif self._piece:
                message = _parse(bytes(self._piece))
                self._piece.clear()
                if message is None:
                    self.dropped += 1
                else:
                    messages.append(message)
        return messages


def _parse(piece: bytes) -> Message | None:
    body = cobs_decode(piece) if len(piece) <= MAX_ENCODED else None
    if body is None or not HEADER.size + CRC.size <= len(body) <= MAX_FRAME:
        return None
    if CRC.unpack(body[-CRC.size :])[0] != zlib.crc32(body[: -CRC.size]):
        return None
    version, kind, sequence = HEADER.unpack_from(body)
    return Message(kind, sequence, body[HEADER.size : -CRC.size], version)


def c_header() -> str:
    """The same constants for the firmware, as a C header."""
    lines = [
        "/* Written by multigraft from core/serial_protocol.py; do not edit. */",
        "#ifndef MG_PROTOCOL_H",
        "#define MG_PROTOCOL_H",
        f"#define MG_VERSION {VERSION}u",
        f"#define MG_MAX_PAYLOAD {MAX_PAYLOAD}u",
        f"#define MG_MAX_FRAME {MAX_FRAME}u",
        f"#define MG_MAX_ENCODED {MAX_ENCODED}u",
        f"#define MG_HEADER_BYTES {HEADER.size}u",
        f"#define MG_REPLY {REPLY}u",
        f"#define MG_IMAGE_MAGIC 0x{IMAGE_MAGIC:08x}u",
        f"#define MG_IMAGE_INFO_BYTES {IMAGE_INFO.size}u",
        f"#define MG_FLAG_UPDATE {FLAG_UPDATE}u",
        f"#define MG_FLAG_PROFILE {FLAG_PROFILE}u",
        f"#define MG_FLAG_VARIABLES {FLAG_VARIABLES}u",
        f"#define MG_FLAG_SOUND {FLAG_SOUND}u",
        f"#define MG_FLAG_EXITS {FLAG_EXITS}u",
        f"#define MG_FLAG_LEARNS {FLAG_LEARNS}u",
    ]
    tables: tuple[tuple[str, type[enum.IntEnum]], ...] = (
        ("KIND", Kind),
        ("ERROR", ErrorCode),
        ("DESCRIBED", Described),
        ("LEARNT", Learnt),
        ("DTYPE", DataType),
        ("RESET", ResetReason),
    )
    for prefix, table in tables:
        lines += [f"#define MG_{prefix}_{entry.name} {entry.value}u" for entry in table]
    layouts = {name: value for name, value in globals().items() if name.endswith(("_REPLY", "_REQUEST"))}
    lines += [f"#define MG_{name}_BYTES {layout.size}u" for name, layout in layouts.items()]
    lines.append(f"#define MG_STREAM_EVENT_BYTES {STREAM_EVENT.size}u")
    return "\n".join([*lines, "#endif", ""])
