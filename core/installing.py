"""What to type to install what is missing, where the user stands: a clone, a tool's environment, the system's Python.

Only :mod:`importlib.metadata` knows how this distribution came here (PEP 610, ``direct_url.json``): from an index,
from a folder, or as an editable checkout.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import sys
import sysconfig
from pathlib import Path
from urllib.parse import unquote, urlsplit

from multigraft.reading import printable

NAME = "multigraft"


def failed_import(error: BaseException) -> str | None:
    """The package whose import raised ``error``, None if something else did.

    A package that is not there, or one that is installed and broken: built for another numpy, without its libraries.
    Such a one raises whatever it likes while its modules run.
    """
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
    if isinstance(error, ModuleNotFoundError):
        return "not installed"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"installed but cannot be imported ({printable(lines[0]).rstrip('.')})"


def install_extra(extra: str) -> str:
    """The command that adds an extra of multigraft to the environment that runs, as a remedy: ``run: …``.

    Args:
        extra: Its name in setup.cfg, such as ``"flash"``.
    """
    folder, editable = _source()
    wanted = f"{folder or NAME}[{extra}]"
    if folder and editable:
        # A plain editable install would leave files out of sight of type checkers; the Makefile's is a strict one.
        return _run(f"--config-settings editable_mode=strict -e {shlex.quote(wanted)}")
    return _run(shlex.quote(wanted))


def install_package(requirement: str) -> str:
    """The command that installs another distribution into the environment that runs, as a remedy.

    Args:
        requirement: As pip takes it, such as ``"numpy<2"``.
    """
    if _is_tool("uv", "tools"):
        return f"run: uv pip install --python {shlex.quote(sys.prefix)} {shlex.quote(requirement)}"
    if _is_tool("pipx", "venvs"):
        return f"run: pipx inject {NAME} {shlex.quote(requirement)}"
    return _run(shlex.quote(requirement))


def install_demo() -> str:
    """The command that installs the demo's networks and frames, as a remedy."""
    folder, _ = _source()
    return install_package(str(Path(folder) / "packaging" / "demo")) if folder else install_extra("demo")


def _run(arguments: str) -> str:
    if _is_tool("uv", "tools"):
        return f"run: uv tool install --force {arguments}"
    if _is_tool("pipx", "venvs"):
        return f"run: pipx install --force {arguments}"
    if _externally_managed():
        return f"run: python3 -m venv --system-site-packages .venv && .venv/bin/python -m pip install {arguments}"
    return f"run: {shlex.quote(_short(sys.executable or 'python3'))} -m pip install {arguments}"


def _source() -> tuple[str | None, bool]:
    """The folder that multigraft was installed from, None if from an index or if it is gone, and whether editable."""
    try:
        text = importlib.metadata.distribution(NAME).read_text("direct_url.json")
        origin = json.loads(text or "{}")
        folder = Path(unquote(urlsplit(origin["url"]).path))
        editable = bool(origin.get("dir_info", {}).get("editable", False))
    except (importlib.metadata.PackageNotFoundError, ValueError, KeyError, TypeError, AttributeError):
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


def _is_tool(tool: str, folder: str) -> bool:
    """Whether this environment is one that a tool made for multigraft alone: ``…/uv/tools/multigraft``."""
    return Path(sys.prefix).parts[-3:] == (tool, folder, NAME)


def _externally_managed() -> bool:
    """PEP 668: the system's Python, into which pip refuses to install."""
    in_environment = sys.prefix != sys.base_prefix
    return not in_environment and (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").is_file()
