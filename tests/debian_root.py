"""Roots of Debian 12 that the opt-in jobs run in: where they are kept, and how this checkout comes into them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def cache(name: str) -> Path:
    """Where a root is kept between runs."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "multigraft" / name


def made_once(root: Path, *command: str, further: Sequence[str] = ()) -> None:
    """Make a root that is not there yet.

    Args:
        root: The folder.
        command: Makes it (the network is needed then); the folder's name follows.
        further: Arguments after the folder.

    Raises:
        RuntimeError: The command failed.
    """
    if (root / "etc" / "debian_version").exists():
        return
    shutil.rmtree(root, ignore_errors=True)
    fresh = root.with_name(f"{root.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    run(*command, str(fresh), *further)
    fresh.rename(root)


def wheel_of(checkout: Path, folder: Path, machine: str | None = None) -> Path:
    """This checkout's wheel, as git would see it now.

    Args:
        checkout: The repository's root.
        folder: For the wheel and what its building leaves.
        machine: Whose, where it is not this one's: its C is compiled by :data:`COMPILERS`.
    """
    across = {}
    if machine is not None:
        compiler = COMPILERS[machine]
        across = {
            "CC": compiler,
            "LDSHARED": f"{compiler} -shared",
            "MULTIGRAFT_PROCESSOR": machine,
            "_PYTHON_HOST_PLATFORM": f"linux-{machine}",
        }
    target = folder / "wheel"
    shutil.rmtree(target, ignore_errors=True)
    copy = folder / "source"
    shutil.rmtree(copy, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=checkout, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (checkout / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkout / name, copy / name)
    run(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(target),
        str(copy),
        environment=across,
    )
    shutil.rmtree(copy)
    return next(target.glob("*.whl"))


def install(site: Path, *what: str, machine: str = "x86_64") -> None:
    """Unpack wheels for Debian 12's Python 3.11 into a folder; nothing is compiled and nothing runs.

    Args:
        site: The folder.
        what: Requirements, and options of ``pip install``.
        machine: Whose: x86_64, aarch64 or armv7l.
    """
    run(*_INTO, str(site), *_platforms(machine), *what)


def install_wheel(site: Path, wheel: Path, machine: str = "x86_64") -> None:
    """Put this checkout's wheel, and nothing that it needs, into a folder in place of what is there of it."""
    install(site, "--no-deps", "--no-index", "--force-reinstall", str(wheel), machine=machine)


def run(*command: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a command.

    Args:
        command: It and its arguments.
        environment: Variables beside those of this process.

    Raises:
        RuntimeError: It failed; the message ends with what it said.
    """
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


COMPILERS = {"aarch64": "aarch64-linux-gnu-gcc", "armv7l": "arm-linux-gnueabihf-gcc"}
"""Debian's compilers for other machines; the packages are gcc- and the part before -gcc."""
_GLIBC = ("2014", "_2_17", "_2_26", "_2_27", "_2_28", "_2_34")
_INTO = (sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target")


def _platforms(machine: str) -> Sequence[str]:
    names = [f"--platform={libc}_{machine}" for libc in ("linux", *(f"manylinux{name}" for name in _GLIBC))]
    return ["--python-version=3.11", "--implementation=cp", "--only-binary=:all:", *names]
