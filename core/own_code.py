"""Python functions of the user, named as ``module:function``, and the consent to run them.

Consent comes from the command line or the environment, never from a file, which may be what is hostile.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from multigraft.errors import InputError, UsageError, one_line

OPTION = "--trust-code"
VARIABLE = "MULTIGRAFT_TRUST_CODE"
_NAMED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_function(text: str) -> bool:
    """Whether a text is ``module:function``."""
    return _NAMED.fullmatch(text) is not None


def is_trusted(trusts_code: bool) -> bool:
    """Whether the user has agreed to run code, by an option or by ``MULTIGRAFT_TRUST_CODE=1``."""
    return trusts_code or os.environ.get(VARIABLE) == "1"


def require_trust(source: str, trusts_code: bool, folder: str = "the folder of the settings") -> None:
    """Refuse to run code unless the user has agreed.

    Raises:
        UsageError: Nobody has agreed.
    """
    if not is_trusted(trusts_code):
        raise UsageError(
            f"{source} runs Python code from {folder}",
            f"if you trust whoever wrote it, add {OPTION} or set {VARIABLE}=1",
        )


@contextlib.contextmanager
def import_path(folder: Path) -> Iterator[None]:
    """Modules are looked for in the folder first."""
    path = str(folder.absolute())
    sys.path.insert(0, path)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if path in sys.path:
            sys.path.remove(path)


def named_function(source: str, folder: Path, does: str) -> Callable[..., Any]:
    """The function ``module:function``; what it imports stands at the top of its module.

    Args:
        source: Its name.
        folder: Where the module is looked for first.
        does: What it has to do, for the sentence: "returns the network".

    Raises:
        InputError: The module or the function is missing, or fails to import.
    """
    place, _, name = source.partition(":")
    with import_path(folder):
        try:
            imported = importlib.import_module(place)
        except Exception as error:
            raise InputError(
                f"module {place} of {source} cannot be imported ({one_line(error)})", "check the name and its folder"
            ) from error
    function = getattr(imported, name, None)
    if not callable(function):
        raise InputError(f"module {place} has no function {name!r}", f"name a function that {does}")
    found: Callable[..., Any] = function
    return found


def digest_of(folder: Path) -> str:
    """SHA-256 of all modules that were imported from a folder, by name."""
    digest = hashlib.sha256()
    base = folder.absolute()
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).absolute().is_relative_to(base) and Path(file).is_file():
            digest.update(name.encode() + b"\0" + Path(file).read_bytes())
    return digest.hexdigest()
