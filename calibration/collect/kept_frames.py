"""Frames that were asked for with ``--keep-frames``: the most uncertain ones, within a quota and a retention time.

With a daily budget they are meant to be taken elsewhere: what was kept may have been sent, so that none gives way to
another. In no 24 hours more bytes are kept than the budget says (as in CEMA, arXiv 2402.17316, but for the budget).
So such a frame has a dot in front of its name until the store lists it: whoever moves it away sooner would take it out
of the sum, should the run be cut off then.

They lie in a folder of their own, as PGM (grey) or PPM (colour) files that every image viewer opens, or rows as .npy
files; nothing else goes there. The store lists them; a file that is not listed was written by a run that was cut off,
and is removed, or taken over where a daily budget says that it may have been sent.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from multigraft import files
from multigraft.calibration.collect.store_facts import KEPT_NAME, Kept
from multigraft.errors import DeviceError, UsageError
from multigraft.tensors.preparation import Frame

SUFFIXES = (".pgm", ".ppm")
ROW_SUFFIX = ".npy"
PREFIX = "kept-"
DAY_S = 86400.0
_NAME = re.compile(r"kept-\d{8,}\.(?:p[gp]m|npy)|\.kept-\d{8,}\.(?:p[gp]m|npy)\..+")
_PENDING = ".pending"


class KeptFrames:
    """The folder and what is in it.

    Args:
        folder: Made when the first frame is kept.
        most: Frames at most.
        quota_bytes: Bytes at most.
        retention_s: Age at which a frame is removed, seconds.
        listed: What the store lists.
        takes_rows: Frames are rows of numbers.
        daily_bytes: Bytes at most in any 24 hours, of frames that stay until their time is over; None for no limit.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        most: int,
        quota_bytes: int,
        retention_s: float,
        listed: Iterable[Kept] = (),
        takes_rows: bool = False,
        daily_bytes: float | None = None,
    ) -> None:
        if most < 1 or quota_bytes < 1 or retention_s <= 0:
            raise UsageError("the limits for kept frames are not positive", "give positive numbers")
        self.folder = Path(folder)
        self._takes_rows = takes_rows
        self._most, self._quota, self._retention_s = most, quota_bytes, retention_s
        self._daily = daily_bytes
        self._kept = {k.file: k for k in listed if KEPT_NAME.fullmatch(k.file)}
        self._added: dict[str, Kept] = {}
        self._dropped: list[str] = []
        for path in _files(self.folder):
            if path.name in self._kept:
                continue
            name = path.name.removeprefix(".").removesuffix(_PENDING)
            if name in self._kept and path.name == _hidden(name):
                # The store took it, and the run was cut off before it could be shown.
                path.replace(self.folder / name)
                continue
            if daily_bytes is not None and KEPT_NAME.fullmatch(path.name):
                found = path.stat()
                self._kept[path.name] = self._added[path.name] = Kept(path.name, 1.0, found.st_mtime, found.st_size)
            else:
                path.unlink()

    def offer(self, frame: Frame, margin: float, number: int, now_s: float) -> bool:
        """Keep the frame if it is among the most uncertain (of equals the earlier); returns whether it was kept.

        Args:
            frame: A picture (uint8, HxW or HxWx3), or a row.
            margin: Top-1 margin, 0..1; less is more uncertain.
            number: Number of the frame in its source; names the file, with the next that is free where an earlier run,
                or another source, has kept one of that number.
            now_s: Unix time, seconds.

        Raises:
            DeviceError: The disk is full.
        """
        for old in [k for k in self._kept.values() if now_s - k.taken_s > self._retention_s]:
            self._drop(old)
        data = encode_row(frame) if self._takes_rows else encode(frame)
        size = len(data)
        if size > self._quota:
            return False
        if self._daily is not None:
            spent = sum(k.bytes for k in self._kept.values() if now_s - k.taken_s < DAY_S)
            if spent + size > self._daily or self._is_full(size):
                return False
        while self._is_full(size):
            worst = max(self._kept.values(), key=lambda k: (k.margin, k.file))
            if worst.margin <= margin:
                return False
            self._drop(worst)
        suffix = ROW_SUFFIX if self._takes_rows else SUFFIXES[frame.ndim == 3]
        names = (f"{PREFIX}{free:08d}{suffix}" for free in itertools.count(number))
        name = next(name for name in names if name not in self._kept and name not in self._dropped)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.write_bytes(self.folder / (name if self._daily is None else _hidden(name)), data)
        except OSError as error:
            raise DeviceError(
                f"{self.folder / name} cannot be written: {error.strerror}", "free some space or keep fewer frames"
            ) from error
        self._kept[name] = self._added[name] = Kept(name, margin, now_s, size)
        return True

    def _is_full(self, size: int) -> bool:
        return len(self._kept) >= self._most or sum(k.bytes for k in self._kept.values()) + size > self._quota

    def _drop(self, kept: Kept) -> None:
        del self._kept[kept.file]
        if self._added.pop(kept.file, None) is None:
            # The store lists it: it may go only once the store does no longer.
            self._dropped.append(kept.file)
        else:
            for name in (kept.file, _hidden(kept.file)):
                (self.folder / name).unlink(missing_ok=True)

    @property
    def changes(self) -> tuple[list[Kept], list[str]]:
        """What was kept and what was removed since :meth:`confirm`, for the store."""
        return list(self._added.values()), list(self._dropped)

    def confirm(self) -> None:
        """The store has taken :attr:`changes`."""
        for name in self._added:
            # A frame taken over from a run that was cut off has its name already.
            with contextlib.suppress(FileNotFoundError):
                (self.folder / _hidden(name)).replace(self.folder / name)
        for name in self._dropped:
            (self.folder / name).unlink(missing_ok=True)
        self._added, self._dropped = {}, []


def purge(folder: Path) -> int:
    """Remove all kept frames from ``folder``, and the folder if nothing else is in it; returns how many there were.

    Raises:
        DeviceError: One cannot be removed.
    """
    kept = _files(folder)
    try:
        for path in kept:
            path.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        raise DeviceError(f"{error.filename} cannot be removed: {error.strerror}", "check its permissions") from error
    return len(kept)


def encode(frame: Frame) -> bytes:
    """A frame as binary PGM or PPM (netpbm.sourceforge.net/doc/ppm.html)."""
    kind = b"P5" if frame.ndim == 2 else b"P6"
    return b"%s\n%d %d\n255\n" % (kind, frame.shape[1], frame.shape[0]) + np.ascontiguousarray(frame).tobytes()


def encode_row(row: Frame) -> bytes:
    """A row as the content of a .npy file."""
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(row), allow_pickle=False)
    return content.getvalue()


def _hidden(name: str) -> str:
    return f".{name}{_PENDING}"


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    # A file that was being written when its process was killed still has a dot in front and more behind its name.
    return sorted(p for p in folder.iterdir() if _NAME.fullmatch(p.name))
