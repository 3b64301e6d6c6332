"""Mutants of .tflite files with binary operators: their options, FlexBuffers, and the shapes of their tensors."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

from flatbuffers import flexbuffers

from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model
from multigraft.tflite.operators import BINARY
from tests.attack.mutants.mutator import Mutator
from tests.attack.mutants.tflite_mutants import INTEGERS, TfliteMutator

WIDE = (*INTEGERS, 4, 31, 32, 33, 64, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1)
DIMENSIONS = (0, 1, 2, 3, 5, 16, 31, 32, 33, 64, 255, 4097, 1 << 16, (1 << 31) - 1)


class OptionsMaker:
    """Damages options; equal seeds give equal ones."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def damaged(self, options: bytes) -> bytes:
        """Options in place of these."""
        ways = (self._flipped, self._cut, self._noise, self._rebuilt, self._rebuilt, self._rebuilt)
        return self._random.choice(ways)(options)

    def _flipped(self, options: bytes) -> bytes:
        """Bits, most of them in the numbers that lead from part to part, which stand at the end."""
        changed = bytearray(options or b"\0")
        for _ in range(self._random.randint(1, 4)):
            end = self._random.choice((len(changed), min(len(changed), 24)))
            changed[-self._random.randint(1, end)] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def _cut(self, options: bytes) -> bytes:
        place = self._random.randrange(len(options) + 1)
        return options[place:] if self._random.random() < 0.5 else options[:place]

    def _noise(self, options: bytes) -> bytes:
        """Bytes at random behind a head that says map."""
        size = self._random.randrange(200)
        return self._random.randbytes(size) + bytes(
            (self._random.choice((36, 37, 38, 39)), self._random.choice((1, 2, 4, 8)))
        )

    def _rebuilt(self, options: bytes) -> bytes:
        """A whole map whose names, numbers and types are others."""
        draw = self._random
        held = dict(flexbuffers.Loads(options)) if options else {}
        names = [*held] or ["padding"]
        chosen = draw.choice(names)
        builder = flexbuffers.Builder(force_min_bit_width=draw.choice(list(flexbuffers.BitWidth)))
        with builder.Map():
            for name, value in held.items():
                if name == chosen and (way := draw.randrange(8)) < 7:
                    self._put(builder, name, way)
                else:
                    builder.Key(name)
                    builder.Int(value)
            if draw.random() < 0.3:
                self._put(builder, draw.choice((*names, "", "x" * draw.choice((1, 40, 300)))), draw.randrange(7))
        return bytes(builder.Finish())

    def _put(self, builder: flexbuffers.Builder, name: str, way: int) -> None:
        draw = self._random
        if way == 0:
            return
        builder.Key(name)
        if way == 1:
            builder.Float(draw.choice((0.0, 1.0, -1e30, float("nan"))))
        elif way == 2:
            builder.String("1" * draw.choice((0, 1, 300)))
        elif way == 3:
            builder.VectorFromElements([1, draw.choice(WIDE)])
        elif way == 4:
            builder.UInt(draw.choice(WIDE))
        else:
            builder.Int(draw.choice((1, -1)) * draw.choice(WIDE))


class OptionsMutator(Mutator):
    """Changes nothing but options of binary operators, which no stock kernel reads."""

    def __init__(self, data: bytes, seed: int = 0) -> None:
        super().__init__(data, seed)
        self._model, self._options = tflite_file.read(data), OptionsMaker(seed)

    def mutant(self) -> bytes:
        """The next one."""
        while True:
            made = self._changed()
            if made != self._data:
                return made

    def _changed(self) -> bytes:
        return tflite_file.write(self._with_graph(self._with_other_options))

    def _with_graph(self, change: Callable[[Graph], Graph]) -> Model:
        """The model with one of its graphs changed."""
        graphs = list(self._model.subgraphs)
        number = self._random.randrange(len(graphs))
        graphs[number] = change(graphs[number])
        return dataclasses.replace(self._model, subgraphs=tuple(graphs))

    def _with_other_options(self, graph: Graph) -> Graph:
        ops = list(graph.ops)
        place = self._random.choice([i for i, op in enumerate(ops) if op.custom_code in BINARY])
        options = self._options.damaged(ops[place].custom_options)
        ops[place] = dataclasses.replace(ops[place], custom_options=options)
        return dataclasses.replace(graph, ops=tuple(ops))


class BinaryMutator(OptionsMutator):
    """Changes options, shapes, or whatever :class:`TfliteMutator` does, in equal parts."""

    def __init__(self, data: bytes, seed: int = 0) -> None:
        super().__init__(data, seed)
        self._others = TfliteMutator(data, seed)

    def _changed(self) -> bytes:
        way = self._random.randrange(3)
        return super()._changed() if way == 0 else self._with_shapes() if way == 1 else self._others.mutant()

    def _with_shapes(self) -> bytes:
        """Other shapes for one or two tensors; what is constant is cut or repeated to fit, or left as it is."""
        model = self._with_graph(self._with_other_shapes)
        try:
            return tflite_file.write(model)
        except (TypeError, ValueError, OverflowError):  # a size that its field cannot hold
            return self._data

    def _with_other_shapes(self, graph: Graph) -> Graph:
        for _ in range(self._random.choice((1, 1, 2))):
            graph = self._with_shape(graph, self._random.choice([*graph.tensors]))
        return graph

    def _with_shape(self, graph: Graph, name: str) -> Graph:
        draw, tensor = self._random, graph.tensors[name]
        shape = list(tensor.shape)
        way = draw.randrange(5)
        if way == 0 or not shape:
            shape = [draw.choice(DIMENSIONS[:9]) for _ in range(draw.randrange(7))]
        elif way == 1:
            draw.shuffle(shape)
        elif way == 2:
            shape.insert(draw.randrange(len(shape) + 1), draw.choice(DIMENSIONS))
        elif way == 3:
            del shape[draw.randrange(len(shape))]
        else:
            place = draw.randrange(len(shape))
            shape[place] = max(0, draw.choice((shape[place] - 1, shape[place] + 1, draw.choice(DIMENSIONS))))
        data = tensor.data
        size = 1
        for side in shape:
            size *= side
        if data is not None and size <= 1 << 16:
            flat = data.reshape(-1)
            data = flat[[i % flat.size for i in range(size)]].reshape(shape) if flat.size else flat
        changed = dataclasses.replace(tensor, shape=tuple(shape), data=data)
        return dataclasses.replace(graph, tensors={**graph.tensors, name: changed})
