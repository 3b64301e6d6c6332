"""Reading sensors' files below /sys."""

from __future__ import annotations

import os
from pathlib import Path

from multigraft.errors import DeviceError

LONGEST_NUMBER = 64
"""Bytes of a file that holds one."""


def read_text(path: Path) -> str | None:
    """The stripped text of a sysfs file; None where it is not there or may not be read."""
    try:
        # Names come from firmware, in whatever encoding its maker had.
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return None


def read_number(path: Path) -> int:
    """The whole number in a sysfs file.

    Raises:
        DeviceError: It cannot be read or holds no number.
    """
    try:
        # A quarter of what Path.read_text takes: power sensors are read 500 times a second.
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return int(os.read(descriptor, LONGEST_NUMBER))
        finally:
            os.close(descriptor)
    except PermissionError as error:
        raise DeviceError(f"{path} may not be read", f"run: sudo chmod a+r {path}") from error
    except (OSError, ValueError) as error:
        raise DeviceError(f"{path} gives no reading ({error})", "check the sensor and its driver") from error
