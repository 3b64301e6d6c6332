"""Options of custom operators: a FlexBuffers map from names to whole numbers that may lie.

Nothing is taken from outside the content, and the work is linear in its size. Source: FlexBuffers in the documentation
of FlatBuffers ("Internals").
"""

from __future__ import annotations

from multigraft.tflite.checking.flatbuffer import DamagedError

_INT, _UINT, _MAP, _BOOL = 1, 2, 9, 26
LONGEST = 4096
"""Bytes; the options of a binary convolution take 200."""


def whole_numbers(content: bytes) -> dict[str, int]:
    """The whole numbers of a map, values of other kinds left out.

    Args:
        content: The options as the file holds them; nothing is an empty map.

    Raises:
        DamagedError: It is no map, too long, or a part lies outside of it.
    """
    if not content:
        return {}
    if not 3 <= len(content) <= LONGEST:
        raise DamagedError("the options of a custom operator are cut off or too long")
    width, root_width, kind = 1 << (content[-2] & 3), content[-1], content[-2] >> 2
    if kind != _MAP:
        raise DamagedError("the options of a custom operator are no map")
    place = _followed(content, len(content) - 2 - root_width, root_width)
    count = _number(content, place - width, width)
    key_width = _number(content, place - 2 * width, width)
    keys = _followed(content, place - 3 * width, width)
    kinds = place + count * width
    if count > len(content) or kinds + count > len(content):
        raise DamagedError("the options of a custom operator are cut off")
    result: dict[str, int] = {}
    for i in range(count):
        begin = _followed(content, keys + i * key_width, key_width)
        end = content.find(b"\0", begin)
        if end < 0:
            raise DamagedError("an option of a custom operator has a name that does not end")
        held = content[kinds + i] >> 2
        if held in (_INT, _UINT, _BOOL):
            name = content[begin:end].decode("latin-1")
            if name in result:
                raise DamagedError("a custom operator has two options of one name")
            result[name] = _number(content, place + i * width, width, is_signed=held == _INT)
    return result


def _number(content: bytes, place: int, width: int, is_signed: bool = False) -> int:
    if width not in (1, 2, 4, 8) or place < 0 or place + width > len(content):
        raise DamagedError("a part of a custom operator's options lies outside of them")
    return int.from_bytes(content[place : place + width], "little", signed=is_signed)


def _followed(content: bytes, place: int, width: int) -> int:
    target = place - _number(content, place, width)
    if target < 0:
        raise DamagedError("a part of a custom operator's options lies outside of them")
    return target
