"""The operators as Markdown: what each takes and what it demands."""

from __future__ import annotations

from multigraft.firmware_gen.operators import OPERATORS
from multigraft.firmware_gen.operators.base.constraints import GENERAL
from multigraft.firmware_gen.operators.base.operator import Operator, sentence

_BEFORE_GENERAL = "Several operators share a demand. The second table names it; this one says it:"
_BEFORE_OPERATORS = (
    "An operator is checked for its general demands, then for its own, each in the order in which they stand here."
    " The first that does not hold is named in the message."
)


def operator_table() -> str:
    """The general demands once, then a row per operator: what it takes, its general demands by name, its own."""
    lines = [_BEFORE_GENERAL, "", "| general demand | what it says |", "|---|---|"]
    lines += [f"| {_title(name)} | {sentence(constraint)} |" for name, constraint in GENERAL.items()]
    lines += [
        "",
        _BEFORE_OPERATORS,
        "",
        "| operator | takes | general demands | its own demands |",
        "|---|---|---|---|",
    ]
    lines += [_row(name, OPERATORS[name]) for name in sorted(OPERATORS)]
    return "\n".join(lines)


def _row(name: str, operator: Operator) -> str:
    general = ", ".join(_title(c.__name__) for c in operator.constraints if c.__name__ in GENERAL)
    own = " ".join(sentence(c) for c in operator.constraints if c.__name__ not in GENERAL)
    return f"| {name} | {operator.summary} | {general or '–'} | {own or '–'} |"


def _title(name: str) -> str:
    return name.replace("_", " ")
