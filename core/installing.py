"""What to type to install what is missing, where the user stands: a clone, a tool's environment, the system's Python.

Only :mod:`importlib.metadata` knows how this distribution came here (PEP 610, ``direct_url.json``): from an index,
from a folder, or as an editable checkout.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import site
import sys
import sysconfig
from pathlib import Path
from urllib.parse import unquote, urlsplit

from multigraft.broken_packages import LIBRARIES, fault_of
from multigraft.reading import printable
from multigraft.tool_environment import NAME, kept_by, uv_tool_command

DEBIAN_PACKAGES = {
    "images": "python3-pil",
    "video": "python3-opencv",
    "serial": "python3-serial",
    "pi": "python3-pil python3-picamera2",
}
"""Extra of multigraft to what brings the same from Debian."""

DESKTOP_OPENCV = ("opencv-python", "opencv-contrib-python")
"""Distributions of ``cv2`` that want the libraries of a desktop; ``-headless`` ones do not."""


def failed_import(error: BaseException) -> str | None:
    """The package whose import raised ``error``, None if something else did.

    A package that is not there, or one that is installed and broken: built for another numpy, without its libraries.
    Such a one raises whatever it likes while its modules run.
    """
    if isinstance(error, SyntaxError) and (damaged := _package_of(error.filename)) is not None:
        return damaged
    trace = error.__traceback__
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", NAME)).partition(".")[0]
        if trace.tb_frame.f_code.co_name == "<module>" and package not in (NAME, "__main__"):
            return package
        trace = trace.tb_next
    package = (error.name or NAME).partition(".")[0] if isinstance(error, ImportError) else NAME
    return None if package == NAME else package


def how_missing(error: BaseException) -> str:
    """What is wrong with a package whose import raised ``error``: completes "needs PACKAGE, which is …"."""
    fault = fault_of(error, failed_import(error))
    if isinstance(error, ModuleNotFoundError) and fault is None:
        return "not installed"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = printable(lines[0]).rstrip(".")
    return f"installed but cannot be imported ({said if fault is None else f'{fault.cause}: {said}'})"


def repair(error: BaseException, usual: str) -> str:
    """The remedy for a package whose import raised ``error``.

    Args:
        error: What was raised.
        usual: The remedy where the package is not installed; also where it is broken in a way that is not known.
    """
    package = failed_import(error)
    fault = fault_of(error, package)
    if package is None or (fault is None and isinstance(error, ModuleNotFoundError)):
        return usual
    origin = _origin(error, package)
    if fault is None:
        # It is there: installing it as usual would leave it as it is.
        return _again(package, origin)
    match fault.kind:
        case "numpy":
            return _same_numpy(package, origin)
        case "library" if (desktop := _distribution(package)) in DESKTOP_OPENCV:
            # One library of a desktop after the other would be missed: libxcb, libGL, libgthread.
            command = install_package(f"{desktop}-headless", anew=True)
            return f"first remove {desktop}, which is for desktops ({_uninstall(desktop)}); then {command}"
        case "library":
            known = LIBRARIES.get(fault.detail)
            return f"run: sudo apt install {known or f'PACKAGE, whose name tells: apt-file search {fault.detail}'}"
        case "newer system":
            return f"install an older release of {_distribution(package)}, or a newer system"
        case "name taken":
            return f"rename the file {package}.py, or start from another folder"
        case "needs" if package == "picamera2":
            return f"run: sudo apt install python3-picamera2; and remove the one of pip: {_uninstall(package)}"
        case _:
            return _again(package, origin)


def install_extra(extra: str) -> str:
    """The command that adds an extra of multigraft to the environment that runs, as a remedy: ``run: …``.

    Args:
        extra: Its name in setup.cfg, such as ``"flash"``.
    """
    keeper = kept_by()
    if keeper == "debian":
        return _for_debian(extra)
    folder, editable = _source()
    # A plain editable install would leave files out of sight of type checkers; the Makefile's is a strict one.
    options = "--config-settings editable_mode=strict -e" if folder and editable else ""
    if keeper == "uv tool":
        return f"run: {uv_tool_command(folder or NAME, extra, options)}"
    arguments = f"{options} {shlex.quote(f'{folder or NAME}[{extra}]')}".strip()
    return f"run: pipx install --force {arguments}" if keeper == "pipx" else _run(arguments)


def install_package(requirement: str, anew: bool = False) -> str:
    """The command that installs another distribution into the environment that runs, as a remedy.

    Args:
        requirement: As pip takes it, such as ``"numpy<2"``.
        anew: Also where that version is installed.
    """
    forced = "--force-reinstall --no-cache-dir " if anew else ""
    match kept_by():
        case "debian":
            return "run: sudo apt install --reinstall multigraft"
        case "pipx":
            return f"run: pipx inject {'--force ' if anew else ''}{NAME} {shlex.quote(requirement)}"
        case _:
            return _run(f"{forced}{shlex.quote(requirement)}")


def sees_system_packages() -> bool:
    """Whether this Python sees the packages of the system's Python, such as picamera2."""
    if sys.prefix == sys.base_prefix:
        return True
    try:
        lines = (Path(sys.prefix) / "pyvenv.cfg").read_text("utf-8").lower().splitlines()
    except OSError:
        return False
    return any(line.replace(" ", "") == "include-system-site-packages=true" for line in lines)


def show_system_packages() -> str:
    """The command that lets this environment see the system's packages, as a remedy."""
    return f"run: python3 -m venv --system-site-packages {shlex.quote(_short(sys.prefix))}"


def install_demo() -> str:
    """The command that installs the demo's networks and frames, as a remedy."""
    folder, _ = _source()
    return install_package(str(Path(folder) / "packaging" / "demo")) if folder else install_extra("demo")


def _origin(error: BaseException, package: str) -> Path | None:
    """The file in which the package failed."""
    if isinstance(error, SyntaxError):
        return Path(error.filename) if error.filename else None
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == package:
            return Path(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return None


def _package_of(file: str | None) -> str | None:
    """The package that an installed file belongs to."""
    parts = Path(file or "").parts
    for folder in ("site-packages", "dist-packages"):
        if folder in parts[:-1]:
            return parts[len(parts) - parts[::-1].index(folder)].partition(".")[0]
    return None


def _is_systems(path: Path | None) -> bool:
    """Whether a file came with a package of Debian: pip installs nothing there."""
    return path is not None and "dist-packages" in path.parts and "local" not in path.parts


def _same_numpy(package: str, origin: Path | None) -> str:
    """Bring a compiled package and numpy together again."""
    spec = importlib.util.find_spec("numpy")
    numpy = Path(spec.origin) if spec is not None and spec.origin else None
    if numpy is not None and Path(site.getusersitepackages()) in numpy.parents:
        return "run: python3 -m pip uninstall --break-system-packages numpy; it hides the one of the system"
    if _is_systems(origin):
        # It cannot be built anew, and numpy of the environment is what pip may change.
        is_old = sys.version_info < (3, 13)
        return install_package("numpy<2" if is_old else "numpy>=2")
    return _again(package, origin)


def _uninstall(package: str) -> str:
    """What is typed to remove a distribution from the environment that runs."""
    match kept_by():
        case "uv" | "uv tool":
            return f"uv pip uninstall --python {shlex.quote(_short(sys.prefix))} {package}"
        case "pipx":
            return f"pipx runpip {NAME} uninstall -y {package}"
        case _:
            return f"pip uninstall -y {package}"


def _again(package: str, origin: Path | None) -> str:
    distribution = _distribution(package)
    if _is_systems(origin):
        # Debian names packages by what is imported (Python policy, 4.3).
        name = {"cv2": "opencv"}.get(package, package.lower().replace("_", "-"))
        return f"run: sudo apt install --reinstall python3-{name}"
    return install_package(distribution, anew=True)


def _distribution(package: str) -> str:
    """What pip calls a package that is imported by another name."""
    from importlib import metadata  # Takes longer than all else that a command needs at its start.

    found = metadata.packages_distributions().get(package)
    return found[0] if found else {"PIL": "pillow", "cv2": "opencv-python-headless"}.get(package, package)


def _run(arguments: str) -> str:
    if kept_by() in ("uv tool", "uv"):
        # These have no pip of their own.
        return f"run: uv pip install --python {shlex.quote(_short(sys.prefix))} {arguments}"
    if _externally_managed():
        return f"run: python3 -m venv --system-site-packages .venv && .venv/bin/python -m pip install {arguments}"
    return f"run: {shlex.quote(_short(sys.executable or 'python3'))} -m pip install {arguments}"


def _source() -> tuple[str | None, bool]:
    """The folder that multigraft was installed from, None if from an index or if it is gone, and whether editable."""
    from importlib import metadata

    try:
        text = metadata.distribution(NAME).read_text("direct_url.json")
        origin = json.loads(text or "{}")
        folder = Path(unquote(urlsplit(origin["url"]).path))
        editable = bool(origin.get("dir_info", {}).get("editable", False))
    except (metadata.PackageNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None, False
    if not (folder / "setup.cfg").is_file():
        return None, False
    return _short(str(folder)), editable


def _short(path: str) -> str:
    """The path as it is typed from here, if that is shorter."""
    try:
        relative = os.path.relpath(path)
    except (ValueError, OSError):
        return path
    return path if relative.startswith("..") or len(relative) >= len(path) else relative


def _for_debian(extra: str) -> str:
    """What brings an extra to the environment of multigraft's Debian package, which sees the system's packages."""
    packages = DEBIAN_PACKAGES.get(extra)
    if packages is not None:
        return f"run: sudo apt install {packages}"
    return (
        "make an environment of your own: python3 -m venv --system-site-packages ~/multigraft && "
        f"~/multigraft/bin/pip install 'multigraft[{extra}]'"
    )


def _externally_managed() -> bool:
    """PEP 668: the system's Python, into which pip refuses to install."""
    in_environment = sys.prefix != sys.base_prefix
    return not in_environment and (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").is_file()
