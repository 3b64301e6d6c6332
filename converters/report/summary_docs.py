"""Writes ``docs/summary.md`` from the summary's own fields: ``python -m multigraft.converters.report.summary_docs``."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from typing import Any

from multigraft.converters.report.summary import Summary

_INTRODUCTION = """\
# summary.json

`multigraft demo` and `multigraft build --report-dir` write their result as one JSON file, schema {schema}. A figure
that was not measured is null, never 0; fields a reader does not know are to be ignored. This page is made from the code
that reads and writes the file: `python -m multigraft.converters.report.summary_docs > docs/summary.md`.
"""

_JSON_NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "anything"}


def markdown() -> str:
    """The whole page."""
    seen: list[Any] = [Summary]
    for kind in seen:
        seen += [k for k in _inner_kinds(kind) if k not in seen]
    parts = [_INTRODUCTION.format(schema=Summary.__dataclass_fields__["schema"].default)]
    return "\n".join([*parts, *(_section(kind) for kind in seen)])


def _section(kind: Any) -> str:
    hints = typing.get_type_hints(kind)
    lines = [
        f"## {kind.__name__}",
        "",
        inspect.cleandoc(kind.__doc__),
        "",
        "| field | type | meaning |",
        "|---|---|---|",
    ]
    for f in dataclasses.fields(kind):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        lines.append(
            f"| `{f.name}`{' (required)' if required else ''} | {_named(hints[f.name])} | {f.metadata['doc']} |"
        )
    return "\n".join([*lines, ""])


def _named(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    if origin is tuple:
        return f"list of {_named(arguments[0])}"
    if origin is dict:
        return f"object of {_named(arguments[1])}"
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if type(None) in arguments:
        return f"{_named(next(a for a in arguments if a is not type(None)))} or null"
    return _JSON_NAMES[kind]


def _inner_kinds(kind: Any) -> list[Any]:
    kinds: list[Any] = []

    def look(hint: Any) -> None:
        if dataclasses.is_dataclass(hint):
            kinds.append(hint)
        for argument in typing.get_args(hint):
            look(argument)

    for hint in typing.get_type_hints(kind).values():
        look(hint)
    return kinds


if __name__ == "__main__":
    print(markdown(), end="")
