"""What ``--source`` may name for tasks that take sound."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from multigraft.devices.cameras.sources import open_source
from multigraft.errors import InputError, UsageError
from multigraft.sounds.listening import Listening
from tests.devices.sounds.test_microphones import write_wav

LISTENING = Listening(16_000, 100, 50)


def test_each_kind_of_source_gives_windows(tmp_path: Path) -> None:
    sound = np.arange(220, dtype=np.int16)
    wav = write_wav(tmp_path / "a.wav", sound)
    np.save(tmp_path / "windows.npy", sound[:200].reshape(2, 100))
    for text, begins in (
        (str(wav), [0, 50, 100]),
        (str(tmp_path), [0, 50, 100]),
        (f"{tmp_path}/windows.npy", [0, 100]),
    ):
        with open_source(text, LISTENING) as source:
            frames = list(source)
        assert [frame[0] for frame in frames] == begins
        assert all(frame.shape == (100,) and frame.dtype == np.int16 for frame in frames)
    with open_source("fake:seed=3,frames=4", LISTENING) as source:
        assert len(list(source)) == 4
    with open_source("fake:", LISTENING) as source:
        assert len(list(itertools.islice(source, 9))) == 9
    assert open_source("microphone:plughw:1,0", LISTENING).name == "microphone plughw:1,0"
    assert open_source("microphone", LISTENING).name == "microphone default"


def test_what_gives_no_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no sound")
    for text, kind, says in (
        ("camera", UsageError, "gives pictures, and its tasks take sound"),
        ("/dev/video0", UsageError, "gives pictures"),
        (f"{tmp_path}/a.txt", InputError, "holds no sound that multigraft reads; give a WAV file"),
        (f"{tmp_path}/b.wav", InputError, "does not exist"),
        (str(tmp_path), InputError, "holds no sounds"),
    ):
        with pytest.raises(kind, match=says):
            open_source(text, LISTENING)
    write_wav(tmp_path / "slow.wav", np.zeros(100, np.int16), 8000)
    with pytest.raises(
        InputError, match=r"8000 samples a second, and 16000 are heard; convert it: ffmpeg -i slow\.wav"
    ):
        open_source(f"{tmp_path}/slow.wav", LISTENING)
