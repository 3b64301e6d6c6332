"""WAV files of all kinds that are read, and the windows that networks take of them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multigraft.devices.sounds.wav_file import EXTENSIBLE, FLOAT, PCM, WavFile
from multigraft.devices.sounds.windows import SoundFiles, windows
from multigraft.errors import InputError, UsageError
from multigraft.sounds.listening import Listening
from multigraft.tensors.arrays import Array
from tests.devices.sounds.test_microphones import write_wav

SOUND = np.array([[-32768, 32767], [100, 101], [-3, -4], [0, 1], [12345, 12345]], np.int64)
"""Two channels of 16 bits."""
MEAN = [0, 101, -3, 1, 12345]
"""(-32768 + 32767) / 2 is -0.5; halves go up."""


def packed(values: Array, bits: int) -> bytes:
    """Whole numbers of 16 bits as a file of ``bits`` stores them."""
    if bits == 8:
        return ((values >> 8) + 128).astype(np.uint8).tobytes()
    if bits == 24:
        return b"".join(int(v * 256).to_bytes(3, "little", signed=True) for v in values.reshape(-1))
    return (values << (bits - 16)).astype(f"<i{bits // 8}").tobytes()


def riff(
    data: bytes, kind: int = PCM, channels: int = 1, bits: int = 16, rate_hz: int = 16_000, length: int | None = None
) -> bytes:
    align = channels * bits // 8
    fields = struct.pack("<HHIIHH", kind, channels, rate_hz, rate_hz * align, align, bits)
    if kind == EXTENSIBLE:
        fields += struct.pack("<HHIH", 22, bits, 3, PCM) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    chunks = b"LIST\x03\0\0\0abc\0" + b"fmt " + struct.pack("<I", len(fields)) + fields
    chunks += b"data" + struct.pack("<I", len(data) if length is None else length) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def read(path: Path) -> list[int]:
    return [int(v) for block in WavFile(path, 16_000) for v in block]


@pytest.mark.parametrize("kind", [PCM, EXTENSIBLE])
@pytest.mark.parametrize("bits", [16, 24, 32])
def test_integers_of_all_widths(bits: int, kind: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(packed(SOUND[:, 0], bits), kind, 1, bits))
    assert read(path) == SOUND[:, 0].tolist()
    path.write_bytes(riff(packed(SOUND, bits), kind, 2, bits))
    assert read(path) == MEAN


def test_eight_bits_have_no_sign_and_floats_reach_from_minus_one_to_one(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(packed(np.array([-32768, 0, 256, 32512]), 8), PCM, 1, 8))
    assert read(path) == [-32768, 0, 256, 32512]
    values = np.array([-1, 1, 0.5, 1 / 65536, -1 / 65536, 7, np.nan, -np.inf], "<f4")
    path.write_bytes(riff(values.tobytes(), FLOAT, 1, 32))
    assert read(path) == [-32768, 32767, 16384, 1, 0, 32767, 0, -32768]


def test_twenty_four_bits_are_rounded_once(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    stored = [0x7F, 0x80, -0x80, -0x81, 0x7FFFFF]
    path.write_bytes(riff(b"".join(v.to_bytes(3, "little", signed=True) for v in stored), PCM, 1, 24))
    assert read(path) == [0, 1, 0, -1, 32767]


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 50])
def test_a_file_from_a_pipe_or_cut_off_is_read_to_its_end(length: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(packed(SOUND[:, 0], 16) + b"x", length=length))
    assert read(path) == SOUND[:, 0].tolist()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"RIFX\0\0\0\0WAVE", "is no WAV file; convert it: ffmpeg -i a.wav"),
        (b"", "is no WAV file"),
        (riff(b"")[:30], "is a damaged WAV file|holds no samples"),
        (riff(b"\0" * 8, 6, bits=8), "kind 6, 8 bits and 1 channels, which are not read; convert it: ffmpeg"),
        (riff(b"\0" * 8, PCM, bits=12), "12 bits"),
        (riff(b"\0" * 8, PCM, channels=0), "0 channels"),
        (riff(b"\0" * 8, FLOAT, bits=64), "64 bits"),
        (
            riff(b"\0" * 8, rate_hz=44_100),
            "44100 samples a second, and 16000 are heard; convert it: ffmpeg .*-ar 16000",
        ),
        (riff(b"\0" * 8, rate_hz=0), "not read"),
    ],
)
def test_what_is_not_read_names_the_command_that_converts_it(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(InputError, match=says):
        WavFile(path, 16_000)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([riff(packed(SOUND, 16), PCM, 2), riff(packed(SOUND, 24), EXTENSIBLE, 2, 24)]),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4),
    st.integers(0, 100),
)
def test_damaged_files_are_read_or_refused(
    tmp_path: Path, whole: bytes, changes: list[tuple[int, int]], kept: int
) -> None:
    data = bytearray(whole)
    for at, value in changes:
        data[at % len(data)] = value
    path = tmp_path / "a.wav"
    path.write_bytes(data[:kept] if kept < 60 else data)
    try:
        rows = list(WavFile(path, 16_000))
    except InputError as error:
        assert error.remedy
    else:
        assert all(row.dtype == np.int16 and row.ndim == 1 for row in rows)


def test_a_pipe_or_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        WavFile(tmp_path / "a.wav", 16_000)
    with pytest.raises(InputError, match="no regular file"):
        WavFile("/dev/null", 16_000)


def test_windows_hop_and_a_short_sound_gets_zeros() -> None:
    sound = np.arange(1, 26, dtype=np.int16)
    listening = Listening(16_000, 10, 4)
    for pieces in ([sound], np.split(sound, [3, 4, 15]), np.split(sound, 25)):
        begins = [int(window[0]) for window in windows(pieces, listening)]
        assert begins == [1, 5, 9, 13]
    assert listening.count(25) == 4
    gaps = Listening(16_000, 3, 7)
    for pieces in ([sound], np.split(sound, [3, 4, 15]), np.split(sound, 25)):
        assert [w.tolist() for w in windows(pieces, gaps)] == [[1, 2, 3], [8, 9, 10], [15, 16, 17], [22, 23, 24]]
    assert gaps.count(25) == 4
    assert [w.tolist() for w in windows([sound[:4]], listening)] == [[1, 2, 3, 4, 0, 0, 0, 0, 0, 0]]
    assert listening.count(4) == 1
    assert list(windows([], listening)) == [] and listening.count(0) == 0
    with pytest.raises(UsageError, match="give positive numbers"):
        Listening(16_000, 10, 0)


def test_a_folder_gives_the_windows_of_each_file(tmp_path: Path) -> None:
    write_wav(tmp_path / "b.wav", np.arange(7, dtype=np.int16))
    write_wav(tmp_path / "a.WAV", np.arange(100, 125, dtype=np.int16))
    (tmp_path / "._a.wav").write_bytes(b"a Mac's")
    (tmp_path / "notes.txt").write_text("no sound")
    source = SoundFiles(tmp_path, Listening(16_000, 10, 10))
    assert [int(frame[0]) for frame in source] == [100, 110, 0]
    assert [path.name for path in source.files] == ["a.WAV", "a.WAV", "b.wav"]
    assert len(source) == 3
    assert "without 1 of a Mac's" in source.name
    assert len(SoundFiles(tmp_path / "b.wav", Listening(16_000, 3, 2))) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no sounds"):
        SoundFiles(tmp_path / "empty", Listening(16_000, 10, 10))
