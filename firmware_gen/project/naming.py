"""What a model's symbols, macros and files are called, so that several models fit into one image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multigraft.errors import UsageError

DEFAULT = "model"
_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,30}")
_HEADERS_OF_C = (
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic "
    "stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype"
)
_OURS = "app app_config arduino board_config frames mg port protocol slots sound start update"
_KERNELS = "mg"
"""Begins the names of what all models share."""
_TAKEN = frozenset(f"{_HEADERS_OF_C} {_OURS}".split())
"""A header of the same name would be found in its place."""
_SWITCHES = ("MODEL_PROFILE", "MODEL_STEP_LABELS")
"""Macros that a build defines, for all models alike; so are those that begin as :data:`_REGION`."""
_REGION = "MODEL_IN_"
_TOKEN = re.compile(
    r'(?P<include>#include "(?:model|sound)\.h")|"(?:\\.|[^"\\\n])*"|(?P<comment>/\*.*?\*/)|(?P<name>\b[A-Za-z_]\w*)',
    re.S,
)
_NAME = re.compile(r"\b(?:model|MODEL|sound|SOUND)_\w+")


@dataclass(frozen=True)
class Naming:
    """How a model is called in C.

    Attributes:
        prefix: Of every symbol, in capitals of every macro, and of its files.
        arena: Name of the arena that several models take turns in; "" for one of its own.
        first_step: Number of its first step among those of all models of an image.
    """

    prefix: str = DEFAULT
    arena: str = ""
    first_step: int = 0


def check_prefixes(prefixes: Sequence[str]) -> None:
    """Refuse what cannot begin the names of a model's symbols, or would make two models' names equal.

    Raises:
        UsageError: A prefix is no beginning of a C name, is taken, or begins as another one.
    """
    remedy = "name it otherwise, as in NAME=FILE or --prefix NAME"
    for prefix in prefixes:
        if not _PREFIX.fullmatch(prefix):
            raise UsageError(f"{prefix!r} cannot begin names in C: a-z, 0-9 and _, 31 letters at most", remedy)
        if prefix in _TAKEN:
            raise UsageError(f"there is a header {prefix}.h already", remedy)
        for other in (*prefixes, _KERNELS):
            if other != prefix and prefix.startswith(f"{other}_"):
                raise UsageError(f"names of {other!r} and {prefix!r} would clash", remedy)
    for prefix in prefixes:
        if prefixes.count(prefix) > 1:
            raise UsageError(f"two models are called {prefix!r}", remedy)


def prefix_of(stem: str) -> str:
    """The prefix that a file's name without its suffix suggests."""
    plain = re.sub(r"[^a-z0-9]+", "_", stem.lower(), flags=re.ASCII).strip("_")
    return (plain if plain[:1].isalpha() else f"model_{plain}")[:31].rstrip("_")


def renamed(files: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Generated files under another prefix than ``model``; headers that all models share stay as they are."""
    if prefix == DEFAULT:
        return dict(files)
    return {
        name if name.startswith("mg_") else _file(name, prefix): text if name.startswith("mg_") else in_c(
            text, prefix, comments=name.endswith(".h")
        )
        for name, text in files.items()
    }  # fmt: skip


def in_c(text: str, prefix: str, comments: bool = True) -> str:
    """C under another prefix; what stands in strings is a user's name and stays."""

    def replace(match: re.Match[str]) -> str:
        token = match[0]
        if match["include"]:
            return f'#include "{_file(token[10:-1], prefix)}"'
        if match["comment"]:
            return _NAME.sub(lambda m: _name(m[0], prefix), token) if comments else token
        return _name(token, prefix) if match["name"] else token

    return _TOKEN.sub(replace, text)


def _file(name: str, prefix: str) -> str:
    return name.replace("model", prefix, 1) if name.startswith("model.") else f"{prefix}_{name}"


def _name(name: str, prefix: str) -> str:
    if name in _SWITCHES or name.startswith(_REGION):
        return name
    for word, by in (("model_", prefix), ("MODEL_", prefix.upper())):
        if name.startswith(word):
            return f"{by}_{name[len(word) :]}"
    for word, by in (("sound_", prefix), ("SOUND_", prefix.upper())):
        if name.startswith(word):
            return f"{by}_{name}"
    return name
