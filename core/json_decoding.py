"""JSON into frozen dataclasses, by their annotations; what does not fit is named by its place."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any, Literal


def decode(kind: Any, value: Any, place: str) -> Any:
    """Decode JSON ``value`` as the annotated type ``kind``; unknown dataclass fields are ignored."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise TypeError(f"{place} has to be an object")
        hints = _hints(kind)
        known = {}
        for f in dataclasses.fields(kind):
            if f.name in value:
                known[f.name] = decode(hints[f.name], value[f.name], f"{place}.{f.name}")
            elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
                raise KeyError(f"{place}.{f.name} is missing")
        return kind(**known)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{place} has to be a list")
        return tuple(decode(arguments[0], v, f"{place}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise TypeError(f"{place} has to be an object")
        return {k: decode(arguments[1], v, f"{place}.{k}") for k, v in value.items()}
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{place} is {value!r} and has to be one of {', '.join(map(str, arguments))}")
        return value
    if origin is types.UnionType:
        if value is None and type(None) in arguments:
            return None
        return decode(_member([a for a in arguments if a is not type(None)], value), value, place)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{place} is too large") from None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{place} has to be {kind.__name__}, not {type(value).__name__}")
    return value


def _member(kinds: list[Any], value: Any) -> Any:
    """Which member of a union a value is: the one whose field ``kind`` may be the value's, else one without a kind."""
    tags = {kind: _tags(kind) for kind in kinds}
    if isinstance(value, dict) and "kind" in value:
        return next((kind for kind, known in tags.items() if value["kind"] in known), kinds[0])
    return next((kind for kind, known in tags.items() if not known), kinds[0])


def _tags(kind: Any) -> tuple[Any, ...]:
    if not (dataclasses.is_dataclass(kind) and isinstance(kind, type)):
        return ()
    return typing.get_args(_hints(kind).get("kind"))


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    # They are strings, compiled anew each time.
    return typing.get_type_hints(kind)
