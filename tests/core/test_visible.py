"""Control characters of names, as they are shown."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multigraft.visible import visible


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("garment", "garment"),
        ("Größe 10 µm, 日本語\u3000表", "Größe 10 µm, 日本語\u3000表"),
        ("می\u200cخواهم 👩\u200d🔬", "می\u200cخواهم 👩\u200d🔬"),
        ("\x1b[2J", "\\u001b[2J"),
        ("\x9b31m", "\\u009b31m"),
        ("a\rb\x08\x7f\0", "a\\u000db\\u0008\\u007f\\u0000"),
        ("one\ntwo", "one\\u000atwo"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\u2066x\u2069\u200f\u2028", "\\u2066x\\u2069\\u200f\\u2028"),
        ("half \ud83d", "half \\ud83d"),
        ("tag \U000e0041", "tag \\U000e0041"),
    ],
)
def test_what_would_act_is_shown_instead(name: str, shown: str) -> None:
    assert visible(name) == shown


def test_ends_of_lines_stay_where_a_text_has_several() -> None:
    assert visible("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\u001b"


@given(st.text(st.characters(codec=None)))
def test_nothing_that_acts_is_left_and_no_encoding_fails(name: str) -> None:
    shown = visible(name)
    shown.encode("utf-8")
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert visible(shown) == shown


@given(st.text(st.characters(codec=None)))
def test_json_stays_the_same_json(name: str) -> None:
    assert json.loads(visible(json.dumps(name))) == name
