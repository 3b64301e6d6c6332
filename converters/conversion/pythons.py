"""Finds a Python that onnx2tf runs on, whatever Python multigraft runs on; fetches one where the machine has none.

A file that is called python3.12 proves nothing: pyenv puts a shim for every version on PATH, and most of them only
print an error. So every candidate is run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from multigraft.converters.conversion import installing
from multigraft.converters.job.progress import Report, silent
from multigraft.errors import ConversionError, UsageError

SERVING = ("3.13", "3.12")
"""Versions with wheels of all that onnx2tf imports, the preferred one first."""

UV_REQUIREMENTS = Path(__file__).with_name("uv_requirements.txt").resolve()

_PROBE = (
    "import ensurepip, platform, sys, sysconfig, venv; print(platform.python_implementation(), "
    "'%d.%d' % sys.version_info[:2], sysconfig.get_config_var('Py_GIL_DISABLED'))"
)
_SECONDS = 30
"""No interpreter takes this long to start; a shim that waits for input does."""

_REMEDY = (
    f"install Python {' or '.join(SERVING)} with its venv module, "
    "or name one with multigraft setup-onnx2tf --python PATH"
)


def find_python(cache: Path, asked: Path | None = None, report: Report = silent) -> Path:
    """An interpreter of one of the versions :data:`SERVING` that runs and makes virtual environments.

    Args:
        cache: Where uv and the Python it fetches are put.
        asked: Take this one and no other.

    Raises:
        UsageError: ``asked`` does not serve.
        ConversionError: There is none, and none can be fetched.
    """
    if asked is not None:
        if serves(asked):
            return asked.absolute()
        raise UsageError(
            f"{asked} is not a Python {' or '.join(SERVING)} that makes virtual environments",
            "give the path of another interpreter, or install its venv module",
        )
    for candidate in (*_on_this_machine(), *_of_uv(cache)):
        if serves(candidate):
            return candidate
    return _fetched(cache, report)


def serves(python: Path) -> bool:
    """Whether ``python`` starts, is a CPython that onnx2tf has wheels for, and makes virtual environments."""
    answer = _answer([str(python), "-I", "-c", _PROBE])
    return answer.split() in [["CPython", version, gil] for version in SERVING for gil in ("0", "None")]


def _on_this_machine() -> Iterator[Path]:
    """What may be a Python, the likeliest first; none is named twice."""
    seen = set()
    names = [f"python{version}" for version in SERVING]
    folders = [Path(f) for f in os.environ.get("PATH", os.defpath).split(os.pathsep) if f]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    of_pyenv = sorted(pyenv.glob("*"), reverse=True) if pyenv.is_dir() else []
    for path in (
        Path(sys.executable),
        *(folder / name for name in names for folder in folders),
        *(v / "bin" / "python" for v in of_pyenv if re.match("|".join(map(re.escape, SERVING)), v.name)),
        *(folder / "python3" for folder in folders),
    ):
        if path.is_file() and (real := path.resolve()) not in seen:
            seen.add(real)
            yield path


def _of_uv(cache: Path) -> Iterator[Path]:
    """What uv has fetched before, for its user or for us."""
    uv = _uv()
    for variables in ({}, _uv_variables(cache)) if uv else ():
        # Without this option uv stops at the first shim that does not run.
        find = [str(uv), "python", "find", "--managed-python", f">={SERVING[-1]},<=3.13.999"]
        if text := _answer(find, variables):
            yield Path(text)


def _fetched(cache: Path, report: Report) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    log = cache / "uv.log"
    report(f"fetching Python {SERVING[0]} with uv, as this machine has none that onnx2tf runs on")
    uv = _uv() or cache / "uv" / "bin" / "uv"
    try:
        if not uv.is_file():
            installing.run(
                [*installing.pip(sys.executable, UV_REQUIREMENTS), "--target", str(cache / "uv")], log, report
            )
        installing.run(
            [str(uv), "python", "install", "--managed-python", SERVING[0]], log, report, _uv_variables(cache)
        )
    except (ConversionError, OSError):
        raise ConversionError(
            f"onnx2tf needs Python {' or '.join(SERVING)}, there is none here, and none can be fetched",
            f"{_REMEDY}; the log is {log}",
        ) from None
    text = _answer([str(uv), "python", "find", "--managed-python", SERVING[0]], _uv_variables(cache))
    if not text or not serves(Path(text)):
        raise ConversionError(
            f"the Python {SERVING[0]} that uv fetched does not run here", f"{_REMEDY}; the log is {log}"
        )
    log.unlink(missing_ok=True)
    return Path(text)


def _uv() -> Path | None:
    """uv on PATH, or as a package of this Python."""
    if on_path := shutil.which("uv"):
        return Path(on_path)
    if importlib.util.find_spec("uv") is None:
        return None
    beside = Path(sys.executable).with_name("uv")
    return beside if beside.is_file() else None


def _uv_variables(cache: Path) -> dict[str, str]:
    """Let uv put interpreters into our folder and nothing into the user's."""
    return {"UV_PYTHON_INSTALL_DIR": str(cache / "python"), "UV_PYTHON_INSTALL_BIN": "0"}


def _answer(command: list[str], variables: dict[str, str] | None = None) -> str:
    """What ``command`` prints if it succeeds, or nothing."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            env=kept | (variables or {}),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
