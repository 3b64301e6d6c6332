"""Mutants of an ONNX file: fields of its messages changed, taken away, doubled and exchanged, and bytes."""

from __future__ import annotations

from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.attack.mutants.mutator import Mutator
from tests.attack.mutants.pieces import scrambled

INTEGERS = (0, 1, -1, 2, 3, 7, 16, 255, 1 << 16, 1 << 31, -(1 << 31), (1 << 31) - 1, 1 << 40, (1 << 63) - 1, -(1 << 63))
FLOATS = (0.0, -1.0, 1e-45, 1e38, float("inf"), float("nan"))
TEXTS = (
    "", "x", "Relu", "If", "Loop", "Conv", "ConstantOfShape", "Range", "Tile", "Expand", "Resize", "Pad", "ai.onnx",
    "ai.onnx.ml", "é" * 200, "\x1b[2J", "../x", "/etc/passwd", "a" * 5000,
)  # fmt: skip
BOUNDS = {FieldDescriptor.TYPE_INT32: 1 << 31, FieldDescriptor.TYPE_UINT64: 0}


class OnnxMutator(Mutator):
    """Makes mutants of one ONNX file."""

    def mutant(self) -> bytes:
        if self._random.random() < 0.15:
            return scrambled(self._data, self._random)
        model = onnx.load_model_from_string(self._data)
        for _ in range(self._random.choice((1, 1, 1, 2, 4))):
            self._change(model)
        made: bytes = model.SerializeToString()
        return made

    def _change(self, model: onnx.ModelProto) -> None:
        places = list(_places(model))
        # By kind of field, so that many weights do not hide few nodes.
        kinds = sorted({(message.DESCRIPTOR.name, field.name) for message, field in places})
        kind = self._random.choice(kinds)
        message, field = self._random.choice([p for p in places if (p[0].DESCRIPTOR.name, p[1].name) == kind])
        others = [getattr(m, f.name) for m, f in places if f is field and m is not message]
        if _is_repeated(getattr(message, field.name)):
            self._repeated(getattr(message, field.name), field, others)
        elif field.message_type is not None:
            held = getattr(message, field.name)
            if others and self._random.random() < 0.6:
                held.CopyFrom(self._random.choice(others))
            else:
                message.ClearField(field.name)
        elif self._random.random() < 0.15:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, self._other(getattr(message, field.name), field, others))

    def _repeated(self, held: Any, field: FieldDescriptor, others: list[Any]) -> None:
        draw = self._random
        place = draw.randrange(len(held))
        way = draw.random()
        if way < 0.25:
            del held[place]
        elif way < 0.4:
            held.append(held[place]) if field.message_type is None else held.add().CopyFrom(held[place])
        elif field.message_type is not None:
            source = draw.choice([h for h in others if len(h)] or [held])
            copy = type(held[place])()
            copy.CopyFrom(draw.choice(source))
            held[place].CopyFrom(copy)
        elif way < 0.55:
            other = draw.randrange(len(held))
            held[place], held[other] = held[other], held[place]
        else:
            values = [value for h in others for value in h]
            held[place] = self._other(held[place], field, values)

    def _other(self, value: Any, field: FieldDescriptor, others: list[Any]) -> Any:
        draw = self._random
        if others and draw.random() < 0.4:
            return draw.choice(others)
        if isinstance(value, bytes):
            return scrambled(value, draw)
        if isinstance(value, str):
            return draw.choice(TEXTS)
        if field.enum_type is not None:
            return draw.choice(field.enum_type.values).number
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            chosen = draw.choice((value + draw.choice((-1, 1, 2)), draw.choice(INTEGERS), draw.choice(INTEGERS)))
            bound = BOUNDS.get(field.type, 1 << 63)
            return abs(chosen) % (1 << 63) if bound == 0 else max(-bound, min(bound - 1, chosen))
        return draw.choice(FLOATS)


def _places(message: Message) -> list[tuple[Any, FieldDescriptor]]:
    """Every field that is set, at any depth, with the message that holds it."""
    found: list[tuple[Any, FieldDescriptor]] = []
    pending: list[Message] = [message]
    while pending:
        held = pending.pop()
        for field, value in held.ListFields():
            found.append((held, field))
            if field.message_type is not None:
                pending += list(value) if _is_repeated(value) else [value]
    return found


def _is_repeated(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)
