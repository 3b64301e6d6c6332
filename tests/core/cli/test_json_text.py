"""Every result that is printed as JSON is JSON: no NaN and no infinity, which most readers refuse."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import multigraft.cli
from multigraft.cli.shared.json_text import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def told(value: Any) -> Any:
    """What a reader is to get."""
    if isinstance(value, dict):
        return {name: told(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [told(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


@given(VALUES, st.sampled_from([None, 1]))
def test_what_is_no_number_is_null_and_all_else_comes_back(value: Any, indent: int | None) -> None:
    assert json.loads(json_text(value, indent), parse_constant=refuse) == told(value)


def test_no_command_writes_json_by_another_way() -> None:
    commands = Path(multigraft.cli.__file__).parent
    writers = {p.name for p in commands.rglob("*.py") if "json.dump" in p.read_text()}
    assert writers == {"json_text.py"}
