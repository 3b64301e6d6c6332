"""Serial ports: UARTs, USB adapters and pseudo-terminals, by pyserial."""

from __future__ import annotations

import contextlib
import errno
import importlib
import types
from dataclasses import dataclass
from typing import Any, Self

from multigraft.errors import DeviceError, MissingDependencyError
from multigraft.installing import install_extra
from multigraft.reading import printable

BAUD = 115_200
WRITE_TIMEOUT_S = 2.0
"""For a request, which takes 0.03 s at :data:`BAUD`; a device that reads nothing more is waited for no longer."""


def _serial() -> Any:
    try:
        serial: Any = importlib.import_module("serial")
        importlib.import_module("serial.tools.list_ports")
    except ImportError:
        raise MissingDependencyError("serial ports need pyserial", install_extra("serial")) from None
    return serial


def _failures(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What pyserial raises where a port is gone: a termios.error is no OSError."""
    known = (_serial().SerialException, OSError, TypeError, *more)
    with contextlib.suppress(ImportError):
        return (*known, importlib.import_module("termios").error)
    return known  # Windows


@dataclass(frozen=True)
class SerialPort:
    """A port of this machine; ``usb`` is vendor and product id if it is a USB device."""

    device: str
    description: str
    usb: tuple[int, int] | None = None
    serial_number: str | None = None


def serial_ports() -> list[SerialPort]:
    """The serial ports there are, USB devices first.

    Raises:
        MissingDependencyError: pyserial is not installed.
    """
    ports = [
        SerialPort(
            port.device,
            printable(port.description or ""),
            (port.vid, port.pid) if port.vid is not None and port.pid is not None else None,
            port.serial_number,
        )
        for port in _serial().tools.list_ports.comports()
    ]
    return sorted(ports, key=lambda port: (port.usb is None, port.device))


class SerialLink:
    """Link adapter: a serial port, opened for this process alone.

    Args:
        port: Such as ``/dev/ttyACM0`` or ``COM3``.
        baud: Bits per second; USB devices ignore it.
    """

    def __init__(self, port: str, baud: int = BAUD) -> None:
        self._port = port
        self._baud = baud
        self._open: Any = None

    @property
    def name(self) -> str:
        return self._port

    def __enter__(self) -> Self:
        serial = _serial()
        try:
            self._open = serial.Serial(self._port, self._baud, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
            self._open.reset_input_buffer()
        except _failures(ValueError) as error:
            self.__exit__(None, None, None)
            raise self._refusal(error) from error
        return self

    def _refusal(self, error: Exception) -> DeviceError:
        code = getattr(error, "errno", None)
        if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
            have = ", ".join(port.device for port in serial_ports()) or "none"
            return DeviceError(f"there is no serial port {self._port}", f"plug the board in, or choose from: {have}")
        if code in (errno.EACCES, errno.EPERM):
            return DeviceError(f"{self._port} may not be opened", "join the group it belongs to, often dialout")
        if code in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
            return DeviceError(f"{self._port} is in use by another program", "close that program")
        return DeviceError(f"{self._port} cannot be opened ({error})", "check the port's name and the cable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        port, self._open = self._open, None
        if port is not None:
            # Closing would wait for a device to take what was sent to it.
            with contextlib.suppress(*_failures()):
                port.reset_output_buffer()
            with contextlib.suppress(*_failures()):
                port.close()

    def write(self, data: bytes) -> None:
        opened = self._opened()
        try:
            opened.write(data)
        except _serial().SerialTimeoutException:
            raise DeviceError(
                f"{self._port} takes no more bytes since {WRITE_TIMEOUT_S:g} s", "reset the board, or plug it in again"
            ) from None
        except _failures() as error:
            raise self._lost(error) from error

    def read(self, limit: int, timeout_s: float) -> bytes:
        opened = self._opened()
        try:
            waiting = min(limit, opened.in_waiting)
            if waiting == 0:
                opened.timeout = timeout_s
                waiting = 1
            return bytes(opened.read(waiting))
        except _failures() as error:
            raise self._lost(error) from error

    def _opened(self) -> Any:
        if self._open is None:
            raise DeviceError(f"{self._port} is not open", "use it in a with block")
        return self._open

    def _lost(self, error: Exception) -> DeviceError:
        return DeviceError(f"{self._port} stopped working ({error})", "check the cable and plug the board in again")
