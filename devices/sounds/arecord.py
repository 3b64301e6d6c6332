"""Microphones of Linux, by ALSA's own recorder: a program of some 100 kB that Raspberry Pi OS brings along."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Self

import numpy as np

from multigraft.errors import DeviceError, MissingDependencyError
from multigraft.sounds.log_mel import Samples

BLOCKS_A_SECOND = 20


class ArecordMicrophone:
    """Microphone adapter: what ``arecord`` writes; ALSA converts rate and channels as they are asked for.

    Args:
        rate_hz: Samples a second.
        device: ALSA's name of it; ``arecord -L`` lists them.
        program: The recorder.
    """

    def __init__(self, rate_hz: int, device: str = "default", program: str = "arecord") -> None:
        self._rate_hz, self._device, self._program = rate_hz, device, program
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None

    @property
    def name(self) -> str:
        return f"microphone {self._device}"

    @property
    def rate_hz(self) -> int:
        return self._rate_hz

    def __enter__(self) -> Self:
        recorder = shutil.which(self._program)
        if recorder is None:
            raise MissingDependencyError(
                f"{self._program} is not installed", "install it with: apt-get install alsa-utils"
            )
        command = [recorder, "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(self._rate_hz), "-D", self._device]
        # A pipe that nobody reads would block the recorder once it is full.
        self._said = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said, bufsize=0
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2)
            if process.poll() is None:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
        if self._said is not None:
            self._said.close()
            self._said = None

    def __iter__(self) -> Iterator[Samples]:
        block = 2 * max(1, self._rate_hz // BLOCKS_A_SECOND)
        kept = b""
        while self._process is not None:
            assert self._process.stdout is not None
            data = self._process.stdout.read(block)
            if not data:
                raise self._stopped()
            kept += data
            whole = len(kept) & ~1
            if whole:
                yield np.frombuffer(kept[:whole], "<i2").astype(np.int16)
                kept = kept[whole:]
        raise DeviceError(f"{self.name} is not open", "read it inside a with block")

    def _stopped(self) -> DeviceError:
        said = ""
        if self._said is not None:
            self._said.seek(0)
            said = self._said.read(2000).decode("utf-8", "replace").strip().replace("\n", "; ").rstrip(".")
        return DeviceError(
            f"{self.name} gives no samples ({said or 'the recorder ended'})",
            "plug it in, list microphones with: arecord -L",
        )
