"""Mutants of a .tflite file: bit flips, other integers in its tables, cuts, and changes of the unpacked model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.attack.mutants.mutator import Mutator

INTEGERS = (0, 1, 2, 3, 7, 8, 15, 16, 127, 128, 255, 256, 1 << 15, 1 << 16, 1 << 24, 1 << 30, (1 << 31) - 1, 1 << 31)
"""Values that lie at borders; their negatives, too."""
SCALES = (0.0, -1.0, 1e-45, 1e-30, 1e-12, 1e12, 1e38, float("inf"), float("nan"))


class TfliteMutator(Mutator):
    """Makes mutants of one .tflite file."""

    def __init__(self, data: bytes, seed: int = 0) -> None:
        super().__init__(data, seed)
        # Where neither the content of a large buffer lies: there a change does more than another weight.
        self._tables = [place for place in range(0, len(data) - 3, 4) if not any(
            start <= place < stop for start, stop in _large_buffers(data)
        )]  # fmt: skip
        self._ways: tuple[Callable[[], bytes], ...] = (
            self._flipped, self._integer, self._integer, self._moved, self._cut, self._unpacked, self._unpacked,
            self._unpacked,
        )  # fmt: skip

    def mutant(self) -> bytes:
        """The next one."""
        while True:
            made = self._random.choice(self._ways)()
            if made != self._data:
                return made

    def _flipped(self) -> bytes:
        data = bytearray(self._data)
        for _ in range(self._random.randint(1, 4)):
            place = self._random.choice(self._tables) + self._random.randrange(4)
            data[place] ^= 1 << self._random.randrange(8)
        return bytes(data)

    def _integer(self) -> bytes:
        data = bytearray(self._data)
        size = self._random.choice((2, 4, 4, 4))
        place = self._random.choice(self._tables) + self._random.choice((0, 2) if size == 2 else (0,))
        value = int.from_bytes(data[place : place + size], "little")
        near = value + self._random.choice((-2, -1, 1, 2, 4, -4))
        chosen = self._random.choice((near, *self._random.choices(INTEGERS, k=2), -self._random.choice(INTEGERS)))
        data[place : place + size] = (chosen % (1 << 8 * size)).to_bytes(size, "little")
        return bytes(data)

    def _moved(self) -> bytes:
        """One word of the tables at another's place."""
        data = bytearray(self._data)
        one, other = self._random.choice(self._tables), self._random.choice(self._tables)
        data[one : one + 4] = self._data[other : other + 4]
        return bytes(data)

    def _cut(self) -> bytes:
        place = self._random.randrange(8, len(self._data))
        if self._random.random() < 0.5:
            return self._data[:place]
        size = self._random.choice((1, 2, 4, 8, 64))
        return self._data[:place] + self._data[place + size :]

    def _unpacked(self) -> bytes:
        """A whole flatbuffer whose content contradicts itself: what a fuzzer of bytes seldom gets to."""
        for _ in range(20):
            model = schema.ModelT.InitFromPackedBuf(self._data, 0)
            for _ in range(self._random.choice((1, 1, 2))):
                self._change(model)
            try:
                builder = flatbuffers.Builder(len(self._data))
                builder.Finish(model.Pack(builder), b"TFL3")
                return bytes(builder.Output())
            except (TypeError, ValueError, AttributeError, OverflowError, flatbuffers.builder.BuilderNotFinishedError):
                continue  # a value that its field cannot hold
        return self._flipped()

    def _change(self, model: Any) -> None:
        if not model.subgraphs:
            return
        subgraph = self._random.choice(model.subgraphs)
        kinds = {
            "tensor": subgraph.tensors,
            "operator": subgraph.operators,
            "options": [op.builtinOptions for op in subgraph.operators if op.builtinOptions is not None],
            "quantisation": [t.quantization for t in subgraph.tensors if t.quantization is not None],
            "code": model.operatorCodes,
            "signature": model.signatureDefs or [],
            "argument": [a for s in model.signatureDefs or [] for a in (*s.inputs, *s.outputs)],
            "subgraph": [subgraph],
            "buffer": model.buffers,
            "model": [model],
        }
        weights = {"tensor": 5, "operator": 5, "options": 4, "quantisation": 4, "buffer": 3}
        names = [name for name, held in kinds.items() if held]
        name = self._random.choices(names, [weights.get(n, 1) for n in names])[0]
        thing = self._random.choice(kinds[name])
        fields = [n for n, v in vars(thing).items() if v is not None and (name != "model" or n != "version")]
        if not fields:
            return
        field = self._random.choice(fields)
        setattr(thing, field, self._other(getattr(thing, field)))

    def _other(self, value: Any) -> Any:
        draw = self._random
        if isinstance(value, bool):
            return not value
        if isinstance(value, float):
            return draw.choice(SCALES)
        if isinstance(value, (int, np.integer)):
            return draw.choice((int(value) + draw.choice((-1, 1, 2)), draw.choice(INTEGERS), -draw.choice(INTEGERS)))
        if isinstance(value, (list, tuple, np.ndarray)):
            if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.size:
                return self._content(value)
            held = list(value)
            way = draw.randrange(4)
            if not held or (way == 0 and not isinstance(held[0], bytes)):
                return held[:-1]
            if way == 1:
                return [*held, draw.choice(held)]
            place, other = draw.randrange(len(held)), draw.randrange(len(held))
            if way == 2:
                held[place], held[other] = held[other], held[place]
            elif isinstance(held[0], (int, float, np.integer, np.floating)):
                held[place] = self._other(held[place] if isinstance(held[0], int) else held[place].item())
            else:
                held[place] = held[other]
            return held
        if isinstance(value, bytes):
            return value[:-1]
        return value

    def _content(self, value: Any) -> Any:
        held = value.copy()
        way = self._random.randrange(3)
        if way == 0:
            return held[:-1]
        if way == 1 and held.size % 4 == 0 and held.size <= 64:
            words = held.view("<i4").copy()
            words[self._random.randrange(words.size)] = self._random.choice((-1, 1)) * min(
                self._random.choice(INTEGERS), (1 << 31) - 1
            )
            return words.view(np.uint8)
        held[self._random.randrange(held.size)] ^= 1 << self._random.randrange(8)
        return held


def _large_buffers(data: bytes) -> list[tuple[int, int]]:
    model = schema.Model.GetRootAs(data, 0)
    places = []
    for number in range(model.BuffersLength()):
        buffer = model.Buffers(number)
        field = buffer._tab.Offset(4)
        if buffer.DataLength() > 64 and field:
            start = buffer._tab.Vector(field)
            places.append((start + 16, start + buffer.DataLength()))
    return places
