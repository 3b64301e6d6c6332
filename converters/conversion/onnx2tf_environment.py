"""onnx2tf's own virtual environment: made on first use, reused after, never imported.

onnx2tf pins its dependencies so hard that it shares an environment with nothing. The folder is
``$MULTIGRAFT_CACHE`` or ``~/.cache/multigraft``, then a name made of the versions; once made, no network is needed.
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
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from multigraft import files
from multigraft.converters.conversion.onnx2tf_pins import PINS_1_29, PINS_2_6
from multigraft.converters.job.progress import Report, silent
from multigraft.errors import ConversionError, UsageError

PYTHON_VARIABLE = "MULTIGRAFT_ONNX2TF"
CACHE_VARIABLE = "MULTIGRAFT_CACHE"
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
        """Environment variables for processes in it: nothing of the caller's Python leaks in, no GPU is touched."""
        dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        kept = {k: v for k, v in os.environ.items() if k not in dropped}
        return kept | {
            "PATH": os.pathsep.join([str(self.python.parent), os.environ.get("PATH", os.defpath)]),
            "PYTHONNOUSERSITE": "1",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }


def pins() -> tuple[str, ...]:
    """What this Python version's environment holds."""
    return PINS_1_29 if sys.version_info < (3, 12) else PINS_2_6


def cache_folder() -> Path:
    """Where environments are kept; absolute, as onnx2tf runs in another folder."""
    if configured := os.environ.get(CACHE_VARIABLE):
        return Path(configured).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "multigraft"


def ensure(report: Report = silent) -> Environment:
    """The environment, made now if it is not there yet (minutes, and needs a package index).

    Two processes may call this at once: the second waits for the first.

    Raises:
        UsageError: ``$MULTIGRAFT_ONNX2TF`` names no Python with onnx2tf, or the folder cannot be written.
        ConversionError: The packages could not be installed; the message names the log.
    """
    if configured := os.environ.get(PYTHON_VARIABLE):
        return _configured(Path(configured).absolute())
    return _ensure(cache_folder(), pins(), report)


def _configured(python: Path) -> Environment:
    query = f"import importlib.metadata; print(importlib.metadata.version({_PACKAGE!r}))"
    try:
        answer = subprocess.run([python, "-c", query], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise UsageError(
            f"{PYTHON_VARIABLE}={python} is not a Python with onnx2tf", "correct or unset the variable"
        ) from None
    return Environment(python, answer.stdout.strip())


def _ensure(cache: Path, constraints: Sequence[str], report: Report, package: str = _PACKAGE) -> Environment:
    version = next(p.partition("==")[2] for p in constraints if p.startswith(f"{package}=="))
    digest = hashlib.sha256("\n".join(constraints).encode()).hexdigest()[:8]
    python_tag = f"py{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / f"{package}-{version}-{python_tag}-{digest}"
    environment = Environment(folder / "bin" / "python", version)
    if _is_whole(folder):
        return environment
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock"), report):
            if not _is_whole(folder):
                _build(folder, constraints, f"{package}=={version}", report)
    except OSError as error:
        raise UsageError(
            f"{cache} cannot hold the environment of onnx2tf: {error.strerror}",
            f"set {CACHE_VARIABLE} to a folder you may write, with 3 GB free",
        ) from error
    return environment


def _is_whole(folder: Path) -> bool:
    """The marker is there, and so is the Python it was made with (an upgrade of the system may have taken it)."""
    return (folder / _MARKER).is_file() and (folder / "bin" / "python").exists()


@contextlib.contextmanager
def _locked(path: Path, report: Report) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; the kernel lets it go if the process dies."""
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another process that is making the onnx2tf environment")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(folder: Path, constraints: Sequence[str], requirement: str, report: Report) -> None:
    if folder.exists():
        report("removing an unfinished onnx2tf environment")
        shutil.rmtree(folder)
    report(f"making the environment of {requirement} (once; minutes, and about 2 GB on Python 3.11)")
    log = folder.with_name(f"{folder.name}.log")
    python = folder / "bin" / "python"
    constraint_file = folder / "constraints.txt"
    _run([sys.executable, "-m", "venv", str(folder)], log, report)
    constraint_file.write_text("\n".join(constraints) + "\n")
    install = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    _run([*install, "-c", str(constraint_file), requirement], log, report)
    files.write_bytes(folder / _MARKER, json.dumps(list(constraints)).encode())
    log.unlink(missing_ok=True)


def _run(command: Sequence[str], log: Path, report: Report) -> None:
    """Run ``command``, its output into ``log`` and the telling lines to ``report``."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    with log.open("a") as output:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=kept | {"PYTHONNOUSERSITE": "1"}
        )
        assert process.stdout is not None
        last = ""
        try:
            for line in process.stdout:
                output.write(line)
                text = line.strip()
                last = text or last
                if text.startswith(("Collecting", "Installing", "Successfully", "ERROR")):
                    report(text[:100])
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        raise ConversionError(
            f"the environment of onnx2tf could not be made ({last[:200]})",
            f"connect to a package index once, or set {PYTHON_VARIABLE}; the log is {log}",
        )
