"""Memory a process needs: PSS (proportional set size) as Linux counts it.

PSS counts a page that n processes share as 1/n page, so that the PSS of all processes adds up to the memory in use:
Linux, Documentation/filesystems/proc.rst, ``smaps_rollup``. Figures of a model are taken in a process of its own,
which imports the interpreter, then loads, then runs: the difference is what the model costs.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from multigraft.errors import DeviceError, InputError
from multigraft.runtime.backends import BackendName

_ROLLUP = Path("/proc/self/smaps_rollup")
_MAPPINGS = Path("/proc/self/smaps")
_MADV_DONTNEED = 4


def pss_kib(rollup: Path = _ROLLUP) -> int:
    """Proportional set size of this process now, in KiB.

    Raises:
        DeviceError: The system does not tell (not Linux 4.14 or newer).
    """
    try:
        for line in rollup.read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError as error:
        raise DeviceError(f"memory cannot be measured: {rollup} is not readable", "measure on Linux") from error
    raise DeviceError(f"memory cannot be measured: {rollup} has no Pss line", "measure on Linux 4.14 or newer")


def library_kib(maps: Path = _MAPPINGS) -> int:
    """What of :func:`pss_kib` is mapped from programs and libraries and was not written to; 0 if the system is silent.

    Which pages of their code and constants a process has at a moment depends on what ran last, and what it is charged
    for them on how many other processes have them at that moment.
    """
    libraries = {one.file for one in _mappings(maps) if one.is_code}
    mapped = (one.kib for one in _mappings(maps) if one.file in libraries)
    return sum(kib.get("Pss", 0) - kib.get("Anonymous", 0) for kib in mapped)


def give_back_memory() -> None:
    """Return what was freed to the system, where the C library can (``malloc_trim`` of glibc).

    After blocks of some MiB were freed, glibc keeps blocks of that size on its heap (mallopt(3), M_MMAP_THRESHOLD),
    where others lie between them: blocks of other sizes that come and go then take new memory each time.
    """
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def let_go_of_file(path: Path, maps: Path = Path("/proc/self/maps")) -> int:
    """Drop this process's pages of a file that is mapped here for reading alone (``madvise``, MADV_DONTNEED).

    The mapping stays: what is read again comes from the page cache, or from the disk if that was needed otherwise.

    Args:
        path: The file.
        maps: Where the system lists mappings.

    Returns:
        Bytes of the mappings that it has; 0 where there is none or the system does not tell.
    """
    shown = os.path.realpath(path)
    return _let_go(one for one in _mappings(maps) if one.file == shown and "w" not in one.permissions)


def let_go_of_code(maps: Path = _MAPPINGS) -> int:
    """Drop this process's pages of code that is mapped from files (``madvise``, MADV_DONTNEED).

    Importing and loading need far more code than a frame does. What is needed again comes back from the page cache,
    page by page. Mappings of which a page was written to, as debuggers and probes do, stay as they are.

    Args:
        maps: Where the system lists mappings and how much of each was written to.

    Returns:
        Bytes of the mappings that were let go; 0 where the system does not tell.
    """
    return _let_go(one for one in _mappings(maps) if one.is_code and one.kib.get("Anonymous") == 0)


@dataclass(frozen=True)
class _Mapping:
    """What a process has mapped: Linux, Documentation/filesystems/proc.rst, ``maps`` and ``smaps``."""

    first: int
    last: int
    permissions: str
    file: str
    kib: dict[str, int]
    """Of what is mapped from files alone, and only ``smaps`` tells of these."""

    @property
    def is_file(self) -> bool:
        return self.file.startswith("/")

    @property
    def is_code(self) -> bool:
        return self.is_file and self.permissions == "r-xp"


def _mappings(listing: Path) -> Iterator[_Mapping]:
    """All of this process, one at a time: objects of all of them are more than the memory that is looked for.

    None where the system does not tell.
    """
    with contextlib.suppress(OSError), listing.open(errors="replace") as lines:
        one, is_file = None, False
        for line in lines:
            # A mapping begins with an address in small letters, what smaps tells of it with a name: 20 lines each, of
            # hundreds of mappings, and only those of files are asked for.
            if not line[0].isupper():
                if one is not None:
                    yield one
                fields = line.split(maxsplit=5)
                first, last = (int(end, 16) for end in fields[0].split("-"))
                one = _Mapping(first, last, fields[1], fields[5].rstrip("\n") if len(fields) == 6 else "", {})
                is_file = one.is_file
            elif one is not None and is_file:
                name, value, *unit = line.split(maxsplit=2)
                if unit == ["kB\n"]:
                    one.kib[name[:-1]] = int(value)
        if one is not None:
            yield one


def _let_go(mappings: Iterable[_Mapping]) -> int:
    """Drop pages (``madvise``, MADV_DONTNEED); the bytes of their mappings, 0 where the system cannot do it."""
    advise = getattr(_c_library(), "madvise", None)
    if advise is None:
        return 0
    total = 0
    for one in mappings:
        advise(ctypes.c_void_p(one.first), ctypes.c_size_t(one.last - one.first), _MADV_DONTNEED)
        total += one.last - one.first
    return total


@functools.cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@dataclass(frozen=True)
class MemoryUse:
    """PSS of one fresh process in KiB, without code and constants of libraries (:func:`library_kib`).

    Attributes:
        imported_kib: PSS with Python, numpy and the interpreter loaded, and no model.
        loaded_kib: PSS with the models loaded and their tensors allocated.
        peak_kib: The most after any load and any run.
    """

    imported_kib: int
    loaded_kib: int
    peak_kib: int

    @property
    def added_kib(self) -> int:
        """What the models cost at the peak."""
        return self.peak_kib - self.imported_kib

    def to_json(self) -> dict[str, int]:
        """Plain data."""
        return {**asdict(self), "added_kib": self.added_kib}


def measure_bundle(path: Path, backend: BackendName = "auto", threads: int = 1) -> MemoryUse:
    """Memory of an engine that has answered all tasks of a bundle once.

    Raises:
        InputError: The fresh process could not do it; its message is passed on.
    """
    return _measure({"bundle": str(path), "backend": backend, "threads": threads})


def measure_models(
    paths: Sequence[Path], backend: BackendName = "auto", threads: int = 1, lets_go: bool = False
) -> MemoryUse:
    """Memory of one interpreter per .tflite file, all in one process, each run once.

    Args:
        paths: The files.
        backend: Which interpreter.
        threads: For the kernels.
        lets_go: Each gives back what loading needed, as an engine does. An interpreter by itself keeps it.

    Raises:
        InputError: The fresh process could not do it; its message is passed on.
    """
    job = {"models": [str(path) for path in paths], "backend": backend, "threads": threads, "lets_go": lets_go}
    return _measure(job)


def _measure(job: dict[str, Any]) -> MemoryUse:
    # -P: a file called like a module in the working folder must not be imported instead of it.
    command = [sys.executable, "-P", "-m", "multigraft.runtime.memory_probe", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise InputError(f"memory could not be measured: {last[0].rstrip('.')}", "check that the files can be run")
    return MemoryUse(**json.loads(done.stdout.strip().splitlines()[-1]))
