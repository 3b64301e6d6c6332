"""JSON into dataclasses: what fits comes back typed, what does not is named by its place and what it has to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from multigraft.json_decoding import decode


@dataclass(frozen=True)
class Part:
    name: str
    weight: float = 0.5


@dataclass(frozen=True)
class Whole:
    count: int
    parts: tuple[Part, ...]
    by_name: dict[str, Part] = field(default_factory=dict)
    kind: Literal["round", "flat"] = "flat"
    limit: float | None = 1.5
    anything: Any = None
    is_open: bool = False


PART: dict[str, Any] = {"name": "a"}
WHOLE: dict[str, Any] = {"count": 3, "parts": [PART]}


def test_a_whole_object_comes_back_in_its_types() -> None:
    given = {
        "count": 2,
        "parts": [{"name": "a", "weight": 1}, {"name": "b", "weight": 2.25}],
        "by_name": {"left": {"name": "c"}},
        "kind": "round",
        "limit": 4,
        "anything": {"free": [1, "x"]},
        "is_open": True,
        "unknown": "ignored",
    }
    whole = decode(Whole, given, "whole")
    assert whole == Whole(
        2, (Part("a", 1.0), Part("b", 2.25)), {"left": Part("c", 0.5)}, "round", 4.0, {"free": [1, "x"]}, True
    )
    assert (type(whole.count), type(whole.parts), type(whole.parts[0].weight), type(whole.limit)) == (
        int, tuple, float, float,
    )  # fmt: skip


def test_fields_that_are_not_there_take_their_defaults() -> None:
    assert decode(Whole, WHOLE, "whole") == Whole(3, (Part("a", 0.5),), {}, "flat", 1.5, None, False)
    assert decode(Whole, {**WHOLE, "limit": None}, "whole").limit is None


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"count": "3"}, TypeError, "whole.count has to be int, not str"),
        ({"count": True}, TypeError, "whole.count has to be int, not bool"),
        ({"count": 3.0}, TypeError, "whole.count has to be int, not float"),
        ({"count": None}, TypeError, "whole.count has to be int, not NoneType"),
        ({"parts": {"name": "a"}}, TypeError, "whole.parts has to be a list"),
        ({"parts": [PART, 3]}, TypeError, "whole.parts[1] has to be an object"),
        ({"parts": [PART, {}]}, KeyError, "whole.parts[1].name is missing"),
        ({"parts": [{"name": 3}]}, TypeError, "whole.parts[0].name has to be str, not int"),
        ({"parts": [{"name": "a", "weight": True}]}, TypeError, "whole.parts[0].weight has to be float, not bool"),
        ({"parts": [{"name": "a", "weight": "1"}]}, TypeError, "whole.parts[0].weight has to be float, not str"),
        ({"by_name": []}, TypeError, "whole.by_name has to be an object"),
        ({"by_name": {"left": {}}}, KeyError, "whole.by_name.left.name is missing"),
        ({"kind": "square"}, ValueError, "whole.kind is 'square' and has to be one of round, flat"),
        ({"limit": "1"}, TypeError, "whole.limit has to be float, not str"),
        ({"is_open": 1}, TypeError, "whole.is_open has to be bool, not int"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(change: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as caught:
        decode(Whole, WHOLE | change, "whole")
    assert caught.value.args == (sentence,)


def test_what_may_not_be_none_is_refused_as_none() -> None:
    with pytest.raises(TypeError, match="place has to be int, not NoneType"):
        decode(int | str, None, "place")
