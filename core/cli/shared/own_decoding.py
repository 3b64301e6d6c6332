"""``--decode``: functions of the user that make answers where a bundle gives numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.errors import UsageError
from multigraft.own_code import is_function, require_trust

if TYPE_CHECKING:
    from multigraft.answers.own_format import OwnFormat


def own_formats(given: list[str], trusts_code: bool) -> dict[str, OwnFormat]:
    """Task to function, from ``TASK=MODULE:FUNCTION``; modules are looked for in the current folder.

    Raises:
        UsageError: One is not of that form, or nobody has agreed to run it.
        InputError: There is no such function.
    """
    from multigraft.answers.own_format import OwnFormat

    found = {}
    for text in given:
        task, _, function = text.partition("=")
        if not task or not is_function(function):
            raise UsageError(f"--decode {text} is not of the form TASK=MODULE:FUNCTION", "write boxes=decoding:decode")
        require_trust(function, trusts_code, "the current folder")
        found[task] = OwnFormat.load(function, Path.cwd())
    return found
