"""The packages' source files, read without importing them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FOLDERS = ("core", "devices", "runtime", "calibration", "converters", "firmware_gen")


def trees() -> Iterator[tuple[str, ast.Module]]:
    """Every source file as its path from the repository's root, with slashes, and its syntax tree; in order."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))


def module_name(path: str) -> str:
    """``core/bundle/bundle.py`` as ``multigraft.bundle.bundle``."""
    name = "multigraft." + path.removesuffix(".py").replace("/", ".")
    return name.replace("multigraft.core", "multigraft", 1).removesuffix(".__init__")
