"""Windows of sound as frames: what networks that hear take, in the place of a camera's pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from multigraft.devices.file_sources import MAC_PREFIX, SourceWithoutDevice
from multigraft.devices.sounds.microphone import Microphone
from multigraft.devices.sounds.wav_file import WAV_SUFFIXES, WavFile
from multigraft.errors import InputError, UsageError
from multigraft.reading import unreadable
from multigraft.sounds.listening import Listening
from multigraft.sounds.log_mel import Samples
from multigraft.tensors.arrays import Array


def windows(blocks: Iterable[Samples], listening: Listening) -> Iterator[Samples]:
    """Cut a sound into windows; one that ends before the first is whole gets zeros behind it."""
    kept = np.empty(0, np.int16)
    skipped, is_first = 0, True
    for block in blocks:
        left_out = min(skipped, len(block))
        skipped -= left_out
        kept = np.concatenate([kept, block[left_out:]])
        while len(kept) >= listening.samples:
            yield kept[: listening.samples].copy()
            is_first = False
            skipped = max(0, listening.hop - len(kept))
            kept = kept[listening.hop :]
    if is_first and len(kept):
        yield np.concatenate([kept, np.zeros(listening.samples - len(kept), np.int16)])


class Listener:
    """Camera adapter: windows of a microphone.

    Args:
        microphone: Gives samples at ``listening.rate_hz``.
        listening: Which windows.

    Raises:
        UsageError: The microphone has another rate.
    """

    def __init__(self, microphone: Microphone, listening: Listening) -> None:
        if microphone.rate_hz != listening.rate_hz:
            raise UsageError(
                f"{microphone.name} gives {microphone.rate_hz} samples a second, and {listening.rate_hz} are heard",
                "open it at that rate",
            )
        self._microphone, self._listening = microphone, listening

    @property
    def name(self) -> str:
        return self._microphone.name

    def __enter__(self) -> Self:
        self._microphone.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._microphone.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Array]:
        return windows(self._microphone, self._listening)


class SoundFiles(SourceWithoutDevice):
    """Camera adapter: windows of a WAV file, or of all in a folder in the order of their names; none reaches over two.

    Attributes:
        files: The file of each window, in order.
        skipped: How many of a Mac's ``._NAME.wav`` files were left out.

    Args:
        path: A WAV file, or a folder with some (not its subfolders).
        listening: Which windows.

    Raises:
        InputError: There is no such path, no WAV file in it, or one that cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], listening: Listening) -> None:
        self._path, self._listening = Path(path), listening
        self.skipped = 0
        found = [self._path]
        if self._path.is_dir():
            try:
                all_of_them = sorted(
                    p for p in self._path.iterdir() if p.suffix.lower() in WAV_SUFFIXES and p.is_file()
                )
            except PermissionError as error:
                raise unreadable(self._path, error) from error
            found = [p for p in all_of_them if not p.name.startswith(MAC_PREFIX)]
            self.skipped = len(all_of_them) - len(found)
            if not found:
                raise InputError(f"{path} holds no sounds", f"put in files of type {', '.join(WAV_SUFFIXES)}")
        self._sounds = [WavFile(p, listening.rate_hz) for p in found]
        self.files: tuple[Path, ...] = tuple(
            p for p, sound in zip(found, self._sounds, strict=True) for _ in range(listening.count(len(sound)))
        )

    @property
    def name(self) -> str:
        left_out = f" (without {self.skipped} of a Mac's {MAC_PREFIX} files)" if self.skipped else ""
        return f"sounds in {self._path}{left_out}"

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Array]:
        for sound in self._sounds:
            yield from windows(sound, self._listening)
