"""Mutants of a settings file: values, keys and lines changed, taken away, doubled and exchanged, and bytes."""

from __future__ import annotations

from tests.attack.mutants.mutator import Mutator
from tests.attack.mutants.pieces import scrambled

VALUES = (
    "", "true", "0", "-1", "1e400", "nan", "inf", "-inf", "1e-320", "9" * 400, "0x7fffffffffffffff",
    "1979-05-27T07:32:00Z",
    '""', '"x"', '"\\u0000"', '"\\ud800"', '"../x"', '"/dev/zero"', '"~nobody/x"', '"f.npz:x:y"', '"a:b"', '"a\\nb"',
    '"\\u001b[2J"', f'"{"é" * 3000}"', f'"{"a/" * 3000}"', "[]", "[[]]", "[1, 2]", "[0]", '["x"]', "[1e300, 1e300]",
    "{}",
    "{ x = 1 }", "{ pose = 1 }", "[" * 300 + "]" * 300, "{a=" * 300 + "1" + "}" * 300, "[4294967296, 4294967296]",
    "[" + "1," * 5000 + "]", "'''x'''",
)  # fmt: skip
KEYS = ("", "x", '"é"', '"\\u0000"', "a.b.c", "'a b'", "frames", "name", "task", "size", "shape", "sound", "scale")


class SettingsMutator(Mutator):
    """Makes mutants of one settings file."""

    def mutant(self) -> bytes:
        draw = self._random
        if draw.random() < 0.15:
            return scrambled(self._data, draw)
        lines = self._data.decode().splitlines()
        for _ in range(draw.choice((1, 1, 2, 3))):
            self._change(lines)
        return "\n".join(lines).encode("utf-8", "surrogatepass")

    def _change(self, lines: list[str]) -> None:
        draw = self._random
        place = draw.randrange(len(lines))
        key, equals, value = lines[place].partition(" = ")
        way = draw.random()
        if way < 0.5 and equals:
            lines[place] = f"{key} = {draw.choice((*VALUES, *self._values(lines)))}"
        elif way < 0.6 and equals:
            lines[place] = f"{draw.choice((*KEYS, key + '.x'))} = {value}"
        elif way < 0.7 and len(lines) > 1:
            del lines[place]
        elif way < 0.85:
            lines.insert(draw.randrange(len(lines)), lines[place])
        else:
            other = draw.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]

    def _values(self, lines: list[str]) -> list[str]:
        return [value for line in lines if (value := line.partition(" = ")[2])]
