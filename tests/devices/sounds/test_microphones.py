"""What every microphone has to do, over all adapters; hardware is skipped with the reason where it is absent."""

from __future__ import annotations

import itertools
import os
import stat
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multigraft.devices.cameras.camera import Camera
from multigraft.devices.sounds.arecord import ArecordMicrophone
from multigraft.devices.sounds.fake_microphone import FakeMicrophone
from multigraft.devices.sounds.microphone import Microphone
from multigraft.devices.sounds.wav_file import WavFile
from multigraft.devices.sounds.windows import Listener
from multigraft.errors import DeviceError, MissingDependencyError, UsageError
from multigraft.sounds.listening import Listening
from multigraft.sounds.log_mel import Samples

RATE_HZ = 16_000


def write_wav(path: Path, samples: Samples, rate_hz: int = RATE_HZ) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def recorder(folder: Path, lines: str) -> str:
    """A program in the place of arecord, which checks what it is asked for as arecord does."""
    program = folder / "recorder"
    program.write_text(f'#!/bin/sh\n[ "$*" = "-q -t raw -f S16_LE -c 1 -r 16000 -D default" ] || exit 2\n{lines}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def fake(tmp_path: Path) -> FakeMicrophone:
    return FakeMicrophone(seed=3, seconds=1.3)


def endless_fake(tmp_path: Path) -> FakeMicrophone:
    return FakeMicrophone()


def wav(tmp_path: Path) -> WavFile:
    return WavFile(write_wav(tmp_path / "a.wav", np.arange(-9000, 9000, dtype=np.int16)), RATE_HZ)


def arecord(tmp_path: Path) -> ArecordMicrophone:
    if not os.environ.get("MULTIGRAFT_TEST_MICROPHONE"):
        pytest.skip("hardware: set MULTIGRAFT_TEST_MICROPHONE to an ALSA device such as default")
    return ArecordMicrophone(RATE_HZ, os.environ["MULTIGRAFT_TEST_MICROPHONE"])


def odd_pieces(tmp_path: Path) -> ArecordMicrophone:
    """A recorder whose pipe gives half samples at a time."""
    return ArecordMicrophone(
        RATE_HZ, program=recorder(tmp_path, "while :; do printf abc; sleep 0.01; printf d; sleep 0.01; done")
    )


Make = Callable[[Path], Microphone]
ALL: tuple[Make, ...] = (fake, endless_fake, wav, arecord, odd_pieces)


@pytest.fixture(params=ALL, ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


def test_blocks_are_samples_that_stay(make: Make, tmp_path: Path) -> None:
    with make(tmp_path) as microphone:
        assert isinstance(microphone, Microphone)
        assert microphone.rate_hz == RATE_HZ
        assert microphone.name
        blocks = list(itertools.islice(microphone, 4))
        copies = [block.copy() for block in blocks]
        more = list(itertools.islice(iter(microphone), 2))
    assert blocks and more
    for block, copy in zip(blocks, copies, strict=True):
        assert block.dtype == np.int16 and block.ndim == 1 and len(block) > 0
        np.testing.assert_array_equal(block, copy)


@pytest.mark.parametrize("make", [fake, wav], ids=lambda make: make.__name__)
def test_one_that_ends_can_be_read_again(make: Make, tmp_path: Path) -> None:
    with make(tmp_path) as microphone:
        first, second = (np.concatenate(list(microphone)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(first) > RATE_HZ


def test_windows_of_any_microphone_are_frames(make: Make, tmp_path: Path) -> None:
    listening = Listening(RATE_HZ, 40, 15)
    with Listener(make(tmp_path), listening) as source:
        assert isinstance(source, Camera)
        frames = list(itertools.islice(source, 3))
    assert [frame.shape for frame in frames] == [(40,)] * 3
    np.testing.assert_array_equal(frames[0][15:], frames[1][:25])
    np.testing.assert_array_equal(frames[1][15:], frames[2][:25])


def test_the_recorder_is_ended_and_its_words_are_shown(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    program = recorder(tmp_path, f"echo $$ > {alive}\nexec cat /dev/zero")
    with ArecordMicrophone(RATE_HZ, program=program) as microphone:
        assert next(iter(microphone)).any() == np.False_
        process = int(alive.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    program = recorder(tmp_path, "echo 'audio open error: No such device' >&2; exit 1")
    with (
        pytest.raises(DeviceError, match=r"gives no samples .*No such device.*arecord -L"),
        ArecordMicrophone(RATE_HZ, program=program) as microphone,
    ):
        next(iter(microphone))
    with pytest.raises(DeviceError, match="not open"):
        next(iter(microphone))
    with pytest.raises(MissingDependencyError, match="apt-get install alsa-utils"):
        ArecordMicrophone(RATE_HZ, program="no-such-recorder").__enter__()


def test_a_microphone_of_another_rate_is_refused() -> None:
    with pytest.raises(UsageError, match="16000 samples a second, and 8000 are heard"):
        Listener(FakeMicrophone(), Listening(8000, 100, 50))
    with pytest.raises(UsageError, match="give positive numbers"):
        FakeMicrophone(seconds=0)
