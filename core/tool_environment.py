"""Environments that ``uv tool`` and pipx make for multigraft alone, and what is typed to add to them."""

from __future__ import annotations

import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any, Literal

NAME = "multigraft"
UV_RECEIPT = "uv-receipt.toml"
PIPX_RECEIPT = "pipx_metadata.json"


def kept_by() -> Literal["uv tool", "pipx", "debian", "uv"] | None:
    """What made the environment that runs and has its own command for adding to it; None for plain ones.

    ``debian`` is that of multigraft's Debian package; ``uv`` is one of ``uv venv``, which has no pip.
    """
    prefix = Path(sys.prefix)
    if (prefix / UV_RECEIPT).is_file():
        return "uv tool"
    if (prefix / PIPX_RECEIPT).is_file():
        return "pipx"
    if prefix.parts[-3:] == ("usr", "lib", NAME):
        return "debian"
    try:
        lines = (prefix / "pyvenv.cfg").read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return None
    has_pip = any(prefix.glob("lib/python*/site-packages/pip/__init__.py"))
    return "uv" if not has_pip and any(line.startswith("uv =") for line in lines) else None


def uv_tool_command(source: str, extra: str, options: str = "") -> str:
    """The command of ``uv tool`` that adds an extra, and keeps what the environment was asked for before.

    ``uv tool install --force`` alone would take another Python and leave earlier extras and ``--with`` out.

    Args:
        source: The folder that multigraft comes from, or its name on an index.
        extra: Name of the extra.
        options: Of the installation, such as ``-e``.
    """
    tool = _receipt()
    extras, words = {extra}, ["uv", "tool", "install", "--force"]
    if isinstance(python := tool.get("python"), str):
        words += ["--python", python]
    requirements = tool.get("requirements")
    for requirement in requirements if isinstance(requirements, list) else []:
        if not isinstance(requirement, dict):
            continue
        if requirement.get("name") == NAME:
            extras |= {str(name) for name in requirement.get("extras", ())}
        elif not {"directory", "editable", "path", "url", "git"} & set(requirement):
            words += ["--with", f"{requirement.get('name', '')}{requirement.get('specifier', '')}"]
    command = shlex.join(words) + (f" {options}" if options else "")
    wanted = f"{source}[{','.join(sorted(extras))}]"
    return f"{command} {shlex.quote(wanted)}"


def _receipt() -> dict[str, Any]:
    try:
        tool = tomllib.loads((Path(sys.prefix) / UV_RECEIPT).read_text("utf-8")).get("tool")
    except (OSError, ValueError):
        return {}
    return tool if isinstance(tool, dict) else {}
