"""Pseudo-terminals, as emulators offer them: the system's own functions are enough."""

from __future__ import annotations

import contextlib
import os
import select
import types
from typing import Self

from multigraft.errors import DeviceError

WRITE_TIMEOUT_S = 2.0
"""For a request; an emulated device that reads nothing more is waited for no longer."""


class TerminalLink:
    """Link adapter: a pseudo-terminal, which has no speed. Of systems like Unix.

    Args:
        path: Such as ``/dev/pts/3``.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1

    @property
    def name(self) -> str:
        return self._path

    def __enter__(self) -> Self:
        import termios
        import tty

        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            # Bytes pass as they are, none being a signal, an echo or a line's end.
            tty.setraw(self._file)
            termios.tcflush(self._file, termios.TCIFLUSH)
        except (OSError, termios.error) as error:
            self.__exit__(None, None, None)
            raise DeviceError(f"{self._path} cannot be opened ({error})", "start the emulator again") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            with contextlib.suppress(OSError):
                os.close(file)

    def write(self, data: bytes) -> None:
        file, left = self._opened(), memoryview(data)
        while left:
            if not select.select([], [file], [], WRITE_TIMEOUT_S)[1]:
                raise DeviceError(f"{self._path} takes no more bytes since {WRITE_TIMEOUT_S:g} s", "start it again")
            try:
                left = left[os.write(file, left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._lost(error) from error

    def read(self, limit: int, timeout_s: float) -> bytes:
        file = self._opened()
        if not select.select([file], [], [], timeout_s)[0]:
            return b""
        try:
            data = os.read(file, limit)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(error) from error
        if not data:
            raise self._lost("it was closed")
        return data

    def _opened(self) -> int:
        if self._file < 0:
            raise DeviceError(f"{self._path} is not open", "use it in a with block")
        return self._file

    def _lost(self, error: OSError | str) -> DeviceError:
        return DeviceError(f"{self._path} stopped working ({error})", "start the emulator again")
