"""Writes ``docs/settings.md`` from the settings' fields: ``python -m multigraft.converters.settings.settings_docs``."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from multigraft.converters.settings.preparation_settings import FORMS, PREPARATION
from multigraft.converters.settings.settings import Settings
from multigraft.converters.settings.toml_reader import keys

_INTRODUCTION = """\
# multigraft.toml

One file says which networks, which frames and which budgets. Paths are relative to the file. An unknown key, a wrong
type, a missing file or a contradiction is refused with the file, the key and what to write instead (exit code 78).
This page is made from the code that reads the file:
`python -m multigraft.converters.settings.settings_docs > docs/settings.md`.

```toml
frames = "frames/"

[bundle]
name = "home"

[[task]]
name = "garment"
model = "garment.onnx"
kind = "classification"
labels = "garments.txt"

[task.preprocessing]
size = [28, 28]
color = "grey"
mean = 72.94
scale = 0.01111

[[task]]
name = "digit"
model = "digit.onnx"
kind = "classification"

[task.preprocessing]
size = [28, 28]
color = "grey"
mean = 33.32
scale = 0.01273

[budget]
min_agreement = 0.97
```
"""


def markdown() -> str:
    """The whole page."""
    sections = list(_section(Settings, "Top of the file", ""))
    return "\n".join([_INTRODUCTION, *sections])


def _section(kind: Any, title: str, path: str) -> list[str]:
    lines: list[str] = []
    inner: list[str] = []
    for name, field in keys(kind).items():
        reader = field.metadata["reader"]
        if reader.table is not None:
            repeated = name == "task"
            below = f"{path}.{name}" if path else name
            label = f"`[[{below}]]`" if repeated else f"`[{below}]`"
            forms = FORMS if reader is PREPARATION else ((name, "", reader.table),)
            for _, frames, form in forms:
                inner += _section(form, f"{label} for {frames}" if frames else label, below)
        if reader.table is None or field.metadata["doc"]:
            lines.append(f"| `{name}` | {reader.expects} | {_default(field)} | {field.metadata['doc']} |")
    summary = [] if kind is Settings else ["", inspect.cleandoc(kind.__doc__)]
    head = ["", "| key | value | default | meaning |", "|---|---|---|---|"]
    return [f"## {title}", *summary, *head, *lines, "", *inner]


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "none" if field.default_factory is not dataclasses.MISSING else "**required**"
    if field.default is None or field.default == ():
        return "none"
    if isinstance(field.default, tuple):
        return ", ".join("1/255" if v == 1 / 255 else f"{v:g}" for v in field.default)
    return f"`{field.default}`"


if __name__ == "__main__":
    print(markdown(), end="")
