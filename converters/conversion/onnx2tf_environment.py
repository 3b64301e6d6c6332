"""onnx2tf's own virtual environment: made on first use, reused after, never imported.

onnx2tf pins its dependencies so hard that it shares an environment with nothing, and needs a newer Python than
multigraft does. The folder is ``$MULTIGRAFT_CACHE`` or ``~/.cache/multigraft``, then a name made of the version and the
digest of what is installed; once made, no network is needed.
``$MULTIGRAFT_ONNX2TF`` names the Python of an environment that holds onnx2tf already.

A virtual environment cannot be renamed (its scripts name their interpreter by path), so it is built where it stays,
under a lock, and a marker file written last says that it is whole: without the marker it is removed and made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from multigraft import files
from multigraft.converters.conversion import installing
from multigraft.converters.conversion.pythons import find_python
from multigraft.converters.job.progress import Report, silent
from multigraft.errors import UsageError

PYTHON_VARIABLE = "MULTIGRAFT_ONNX2TF"
CACHE_VARIABLE = "MULTIGRAFT_CACHE"
REQUIREMENTS = Path(__file__).with_name("onnx2tf_requirements.txt").resolve()
"""Every distribution in it, with the digests of its wheels."""

_MARKER = "multigraft-ready.json"
_PACKAGE = "onnx2tf"


@dataclass(frozen=True)
class Environment:
    """Where onnx2tf runs.

    Attributes:
        python: Its interpreter.
        version: Version of onnx2tf in it.
    """

    python: Path
    version: str

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables for processes in it: nothing of the caller's Python leaks in."""
        dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        kept = {k: v for k, v in os.environ.items() if k not in dropped}
        return kept | {
            "PATH": os.pathsep.join([str(self.python.parent), os.environ.get("PATH", os.defpath)]),
            "PYTHONNOUSERSITE": "1",
        }


def cache_folder() -> Path:
    """Where environments are kept; absolute, as onnx2tf runs in another folder."""
    if configured := os.environ.get(CACHE_VARIABLE):
        return Path(configured).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "multigraft"


def ensure(report: Report = silent, python: Path | None = None) -> Environment:
    """The environment, made now if it is not there yet (half a minute, and needs a package index).

    Two processes may call this at once: the second waits for the first.

    Args:
        python: The interpreter to make it with; one is looked for otherwise.

    Raises:
        UsageError: ``$MULTIGRAFT_ONNX2TF`` names no Python with onnx2tf, ``python`` does not serve, or the folder
            cannot be written.
        ConversionError: No interpreter serves, or the packages could not be installed; the message names the log.
    """
    if configured := python_of_user():
        return _configured(Path(configured).absolute())
    return _ensure(cache_folder(), REQUIREMENTS, report, python)


def python_of_user() -> str | None:
    """The interpreter that ``$MULTIGRAFT_ONNX2TF`` names; what is installed beside it is not known here."""
    return os.environ.get(PYTHON_VARIABLE) or None


def _configured(python: Path) -> Environment:
    query = f"import importlib.metadata; print(importlib.metadata.version({_PACKAGE!r}))"
    try:
        answer = subprocess.run([python, "-c", query], capture_output=True, text=True, errors="replace", check=True)
    except (OSError, subprocess.CalledProcessError):
        raise UsageError(
            f"{PYTHON_VARIABLE}={python} is not a Python with onnx2tf", "correct or unset the variable"
        ) from None
    version, needed = answer.stdout.strip(), _version(REQUIREMENTS.read_text("utf-8"), _PACKAGE)
    if _numbers(version) < _numbers(needed):
        raise UsageError(
            f"{PYTHON_VARIABLE}={python} holds onnx2tf {version}, which converts wrongly",
            f"install onnx2tf {needed} there, or unset the variable",
        )
    return Environment(python, version)


def _numbers(version: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", version)[:3]]


def _version(requirements: str, package: str) -> str:
    match = re.search(rf"^{re.escape(package)}==(\S+)", requirements, re.MULTILINE)
    assert match is not None
    return match[1]


def _ensure(
    cache: Path, requirements: Path, report: Report, python: Path | None = None, package: str = _PACKAGE
) -> Environment:
    content = requirements.read_bytes()
    version = _version(content.decode(), package)
    folder = cache / f"{package}-{version}-{hashlib.sha256(content).hexdigest()[:8]}"
    environment = Environment(folder / "bin" / "python", version)
    if _is_whole(folder):
        return environment
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock"), report):
            if not _is_whole(folder):
                _build(folder, requirements, f"{package} {version}", find_python(cache, python, report), report)
    except OSError as error:
        raise UsageError(
            f"{cache} cannot hold the environment of onnx2tf: {error.strerror}",
            f"set {CACHE_VARIABLE} to a folder you may write, with 500 MB free",
        ) from error
    return environment


def _is_whole(folder: Path) -> bool:
    """The marker is there, and so is the Python it was made with (an upgrade of the system may have taken it)."""
    return (folder / _MARKER).is_file() and (folder / "bin" / "python").exists()


@contextlib.contextmanager
def _locked(path: Path, report: Report) -> Iterator[None]:
    """Own an exclusive lock on ``path``; the kernel lets it go if the process dies."""
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another process that is making the onnx2tf environment")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(folder: Path, requirements: Path, what: str, python: Path, report: Report) -> None:
    if folder.exists():
        report("removing an unfinished onnx2tf environment")
        shutil.rmtree(folder)
    report(f"making the environment of {what} with {python} (once; half a minute, and about 300 MB)")
    log = folder.with_name(f"{folder.name}.log")
    installing.run([str(python), "-I", "-m", "venv", str(folder)], log, report)
    installing.run(installing.pip(folder / "bin" / "python", requirements), log, report)
    files.write_bytes(folder / _MARKER, json.dumps({"python": str(python)}).encode())
    log.unlink(missing_ok=True)
