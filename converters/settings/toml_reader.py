"""Strict reading of a TOML table into a frozen dataclass whose fields say what they accept.

A field made with :func:`key` carries its reader and its one-line meaning; reading, the refusal of unknown keys and the
generated documentation all come from that one place. Every refusal is a :class:`ConfigurationError` that names the
file, the key path and what to write instead.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from multigraft.errors import ConfigurationError, InputError
from multigraft.reading import read_text

LARGEST = 256 << 10
"""Bytes of a settings file."""
_TOO_LARGE = 1 << 63
"""TOML has whole numbers of 64 bits, and Python's parser takes any."""

_NAMES = {
    bool: "true or false",
    str: "text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True)
class Place:
    """Where a value stands: the settings file and the key path inside it."""

    file: Path
    path: str = ""

    def at(self, name: str) -> Place:
        return Place(self.file, f"{self.path}.{name}" if self.path else name)

    def item(self, index: int) -> Place:
        return Place(self.file, f"{self.path}[{index}]")

    def fail(self, problem: str, remedy: str) -> NoReturn:
        where = f"{self.file}: {self.path}" if self.path else str(self.file)
        raise ConfigurationError(f"{where} {problem}", remedy)

    def wrong_type(self, value: Any, expects: str) -> NoReturn:
        kind = _NAMES.get(type(value), f"a {type(value).__name__}")
        self.fail(f"is {kind}", f"write {expects}")


@dataclass(frozen=True)
class Reader:
    """Turns one parsed TOML value into what the program holds; ``expects`` completes "write ..."."""

    expects: str
    read: Callable[[Any, Place], Any]
    table: type | None = None


def key(doc: str, reader: Reader, *, name: str = "", **default: Any) -> Any:
    """A dataclass field that is a key of the settings file.

    Args:
        doc: What it means, one sentence.
        reader: What it accepts.
        name: The key as written in the file, where it differs from the field's name.
        default: ``default=`` or ``default_factory=`` as for :func:`dataclasses.field`; none makes the key required.
    """
    field: Any = dataclasses.field(**default, metadata={"doc": doc, "reader": reader, "name": name})
    return field


def keys(kind: type) -> dict[str, dataclasses.Field[Any]]:
    """Key as written in the file, to dataclass field."""
    return {f.metadata["name"] or f.name: f for f in dataclasses.fields(kind) if f.metadata}


def nearest(name: str, names: Iterable[str]) -> str:
    """A remedy for a wrong name: the nearest right one if there is one, else all of them."""
    names = list(names)
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]}" if close else f"choose from: {', '.join(names) or 'none'}"


def read_table(kind: type, value: Any, place: Place, /, **extra: Any) -> Any:
    """Read a TOML table as the dataclass ``kind``; ``extra`` are fields that are no keys.

    Raises:
        ConfigurationError: An unknown or missing key, or a value its reader refuses.
    """
    if not isinstance(value, dict):
        place.wrong_type(value, "a table")
    known = keys(kind)
    for name in value:
        if name not in known:
            place.at(name).fail("is not a setting", nearest(name, known))
    values = dict(extra)
    for name, field in known.items():
        reader: Reader = field.metadata["reader"]
        if name in value:
            values[field.name] = reader.read(value[name], place.at(name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            place.at(name).fail("is missing", f"write {reader.expects}")
    return kind(**values)


def read_file(kind: type, path: Path, /, **extra: Any) -> Any:
    """Read a whole TOML file as the dataclass ``kind``."""
    place = Place(path)
    try:
        data = tomllib.loads(read_text(path, LARGEST))
    except UnicodeDecodeError:
        place.fail("is not UTF-8 text", "point to a multigraft.toml file")
    except InputError as error:
        raise ConfigurationError(error.problem, error.remedy) from error
    except RecursionError:
        place.fail("is nested too deeply", "write lists and tables a few levels deep")
    except tomllib.TOMLDecodeError as error:
        place.fail(f"is not TOML: {str(error)[:1].lower()}{str(error)[1:]}", "correct that line")
    except ValueError:
        place.fail("is not TOML: it holds a number of thousands of digits", "correct it")
    return read_table(kind, data, place, **extra)


def text(pattern: str = "", expects: str = "text") -> Reader:
    """Non-empty text that matches ``pattern`` as a whole."""

    def read(value: Any, place: Place) -> str:
        if not isinstance(value, str):
            place.wrong_type(value, expects)
        if not value or (pattern and not re.fullmatch(pattern, value)):
            place.fail(f"is {value!r}", f"write {expects}")
        return value

    return Reader(expects, read)


def choice(*values: str) -> Reader:
    """One of some words."""
    expects = "one of " + ", ".join(f'"{value}"' for value in values)

    def read(value: Any, place: Place) -> str:
        if not isinstance(value, str):
            place.wrong_type(value, expects)
        if value not in values:
            place.fail(f"is {value!r}", nearest(value, values))
        return value

    return Reader(expects, read)


def integer(minimum: int, expects: str, maximum: int | None = None) -> Reader:
    """A whole number from ``minimum`` to ``maximum``; TOML's 1_000_000 is fine, 1e6 is a float and is refused."""

    def read(value: Any, place: Place) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            place.wrong_type(value, expects)
        if value >= _TOO_LARGE:
            place.fail("is too large", f"write {expects}")
        if value < minimum or (maximum is not None and value > maximum):
            place.fail(f"is {value}", f"write {expects}")
        return value

    return Reader(expects, read)


def number(accept: Callable[[float], bool], expects: str) -> Reader:
    """A finite number that ``accept`` accepts."""

    def read(value: Any, place: Place) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            place.wrong_type(value, expects)
        if abs(value) >= _TOO_LARGE and isinstance(value, int):
            place.fail("is too large", f"write {expects}")
        if not math.isfinite(value) or not accept(value):
            place.fail(f"is {value}", f"write {expects}")
        return float(value)

    return Reader(expects, read)


def flag() -> Reader:
    """true or false."""
    expects = "true or false"

    def read(value: Any, place: Place) -> bool:
        if not isinstance(value, bool):
            place.wrong_type(value, expects)
        return value

    return Reader(expects, read)


def several(one: Reader, expects: str) -> Reader:
    """A list; every item by ``one``."""

    def read(value: Any, place: Place) -> tuple[Any, ...]:
        if not isinstance(value, list):
            place.wrong_type(value, expects)
        return tuple(one.read(item, place.item(i)) for i, item in enumerate(value))

    return Reader(expects, read, one.table)


def one_or_several(one: Reader) -> Reader:
    """A value or a list of them; always read as several."""

    def read(value: Any, place: Place) -> tuple[Any, ...]:
        if isinstance(value, list):
            return tuple(one.read(item, place.item(i)) for i, item in enumerate(value))
        return (one.read(value, place),)

    return Reader(one.expects, read)


def mapping(one: Reader, expects: str) -> Reader:
    """A table with free names; every value by ``one``."""

    def read(value: Any, place: Place) -> dict[str, Any]:
        if not isinstance(value, dict):
            place.wrong_type(value, expects)
        return {name: one.read(item, place.at(name)) for name, item in value.items()}

    return Reader(expects, read)


def table(kind: type, expects: str = "a table") -> Reader:
    """A table with the keys of a dataclass."""
    return Reader(expects, lambda value, place: read_table(kind, value, place), kind)


def file(expects: str, suffixes: tuple[str, ...] = (), folder: bool = False) -> Reader:
    """A file (or folder) that exists, relative to the settings file; its absolute path is read."""

    def read(value: Any, place: Place) -> Path:
        if not isinstance(value, str):
            place.wrong_type(value, expects)
        try:
            path = (place.file.parent / Path(value).expanduser()).absolute()
        except RuntimeError:
            place.fail(f"names {value!r}, and there is no such user", "write the whole path")
        try:
            is_there = path.exists()
        except OSError as error:
            place.fail(
                f"names {value!r}, which cannot be reached ({error.strerror})", "check the permissions of its folder"
            )
        if not value or not is_there:
            place.fail(f"names {value!r}, which does not exist beside the settings file", f"write {expects}")
        if path.is_dir() and not folder:
            place.fail(f"names {value!r}, which is a folder", f"write {expects}")
        if not path.is_dir() and suffixes and path.suffix.lower() not in suffixes:
            place.fail(f"names {value!r}", f"write {expects}")
        return path

    return Reader(expects, read)
