"""The sounds of ``multigraft demo --sounds``: WAV files of synthetic words, made where they are needed."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multigraft.converters.demo.speech import NOTHING, RATE_HZ, WORDS, spoken

CLIPS = 896
SENTENCE = ("yes", "one", "stop", "three", "go", "five")


def write_clips(folder: Path, count: int = CLIPS, seed: int = 1) -> Path:
    """Write ``count`` clips of words in turn, and of nothing, as ``NUMBER-WORD.wav``; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    words = (*WORDS, NOTHING)
    for number in range(count):
        word = words[number % len(words)]
        write_wav(folder / f"{number:04d}-{word}.wav", spoken(word, random))
    return folder


def sentence(words: Sequence[str] = SENTENCE, seed: int = 2) -> npt.NDArray[np.int16]:
    """Words one after the other, one in each clip's length: int16 at 16 kHz."""
    random = np.random.default_rng(seed)
    return np.concatenate([spoken(word, random) for word in words])


def write_wav(path: Path, samples: npt.NDArray[np.int16]) -> None:
    """Write one channel of 16 bits at 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.astype("<i2").tobytes())
