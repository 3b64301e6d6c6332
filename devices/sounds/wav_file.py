"""WAV files (RIFF, Microsoft and IBM 1991, and its extensible form): integers of 8 to 32 bits, or 32-bit floats.

What a file stores becomes int16 so: the mean of the channels, in the file's own bits; then the upper 16 bits, rounded
half up; floats are -1 to 1. Other sample rates are refused: a network hears what its rate was in training.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from multigraft.devices.file_sources import SourceWithoutDevice
from multigraft.errors import InputError
from multigraft.reading import printable, regular_file
from multigraft.sounds.log_mel import Samples
from multigraft.tensors.arrays import Array

WAV_SUFFIXES = (".wav", ".wave")
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MOST_CHANNELS = 64
_BLOCK = 1 << 14
"""Samples of all channels read at a time."""


@dataclass(frozen=True)
class WavFormat:
    """What a file's header says.

    Attributes:
        rate_hz: Samples a second.
        channels: Samples at each moment.
        bits: Of one sample: 8, 16, 24 or 32.
        is_float: Samples are 32-bit floats.
        start: Byte at which they begin.
        moments: Samples of each channel.
    """

    rate_hz: int
    channels: int
    bits: int
    is_float: bool
    start: int
    moments: int


class WavFile(SourceWithoutDevice):
    """Microphone adapter: the samples of a WAV file, read as needed.

    Args:
        path: The file.
        rate_hz: Samples a second that are wanted.

    Raises:
        InputError: The file is not there, is no WAV file of a kind that is read, or has another rate.
    """

    def __init__(self, path: str | os.PathLike[str], rate_hz: int) -> None:
        self._path = Path(path)
        with regular_file(self._path) as file:
            self._format = read_format(file, self._path)
        if self._format.rate_hz != rate_hz:
            raise InputError(
                f"{printable(str(path))} has {self._format.rate_hz} samples a second, and {rate_hz} are heard",
                f"convert it: ffmpeg -i {self._path.name} -ac 1 -ar {rate_hz} {self._path.stem}-{rate_hz}.wav",
            )

    @property
    def name(self) -> str:
        return f"sound in {self._path}"

    @property
    def rate_hz(self) -> int:
        return self._format.rate_hz

    def __len__(self) -> int:
        return self._format.moments

    def __iter__(self) -> Iterator[Samples]:
        found = self._format
        moment = found.channels * found.bits // 8
        block = max(1, _BLOCK // found.channels)
        with regular_file(self._path) as file:
            file.seek(found.start)
            for at in range(0, found.moments, block):
                count = min(block, found.moments - at)
                data = file.read(count * moment)
                if len(data) < count * moment:
                    raise InputError(f"{printable(str(self._path))} shrinks while it is read", "copy it first")
                yield to_samples(data, found)


def read_format(file: BinaryIO, path: Path) -> WavFormat:
    """Read the header of an open file.

    Raises:
        InputError: It is no WAV file, or of a kind that is not read.
    """
    shown = printable(str(path))
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    begin = file.read(12)
    if begin[:4] != b"RIFF" or begin[8:12] != b"WAVE":
        raise InputError(f"{shown} is no WAV file", _convert(path))
    known: tuple[int, int, int, int] | None = None
    while len(head := file.read(8)) == 8:
        name, length = head[:4], int.from_bytes(head[4:], "little")
        start = file.tell()
        if name == b"fmt ":
            known = _format(file.read(min(length, 40)), shown, path)
        elif name == b"data":
            if known is None:
                break
            kind, channels, rate_hz, bits = known
            # A file written to a pipe says 0 or 2^32 - 1 bytes.
            there = size - start
            length = there if length in (0, 0xFFFFFFFF) else min(length, there)
            return WavFormat(rate_hz, channels, bits, kind == FLOAT, start, length // (channels * bits // 8))
        file.seek(start + length + (length & 1))
    raise InputError(f"{shown} holds no samples", _convert(path))


def _format(data: bytes, shown: str, path: Path) -> tuple[int, int, int, int]:
    """Kind, channels, rate and bits."""
    if len(data) < 16:
        raise InputError(f"{shown} is a damaged WAV file", _convert(path))
    kind, channels, rate_hz, _, align, bits = struct.unpack_from("<HHIIHH", data)
    if kind == EXTENSIBLE and len(data) >= 26:
        kind = int.from_bytes(data[24:26], "little")
    sound = (kind == PCM and bits in (8, 16, 24, 32)) or (kind == FLOAT and bits == 32)
    if not sound or not 1 <= channels <= MOST_CHANNELS or align != channels * bits // 8 or rate_hz == 0:
        raise InputError(
            f"{shown} holds samples of kind {kind}, {bits} bits and {channels} channels, which are not read",
            _convert(path),
        )
    return kind, channels, rate_hz, bits


def _convert(path: Path) -> str:
    return f"convert it: ffmpeg -i {path.name} -ac 1 -c:a pcm_s16le {path.stem}-16.wav"


def to_samples(data: bytes, found: WavFormat) -> Samples:
    """One channel of int16 of whole moments of all channels."""
    if found.is_float:
        values = np.nan_to_num(np.frombuffer(data, "<f4").astype(np.float64), nan=0.0)
        scaled = np.floor(values.reshape(-1, found.channels).mean(axis=1).clip(-2, 2) * 32768 + 0.5)
        return _clipped(scaled)
    stored = _whole_numbers(data, found.bits).reshape(-1, found.channels).astype(np.int64)
    # Mean and the upper 16 bits in one division, so that there is one rounding.
    divisor = found.channels << max(0, found.bits - 16)
    total = stored.sum(axis=1) << max(0, 16 - found.bits)
    return _clipped((2 * total + divisor) // (2 * divisor))


def _clipped(values: Array) -> Samples:
    samples: Samples = np.clip(values, -32768, 32767).astype(np.int16)
    return samples


def _whole_numbers(data: bytes, bits: int) -> Array:
    if bits == 8:
        # Those alone have no sign.
        return np.frombuffer(data, np.uint8).astype(np.int16) - 128
    if bits == 24:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        values: Array = (parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16) ^ 0x800000
        return values - 0x800000
    return np.frombuffer(data, f"<i{bits // 8}")
