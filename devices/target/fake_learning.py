"""What a fake device that learns does with the requests that the C firmware answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from multigraft import serial_protocol as protocol
from multigraft.errors import InputError
from multigraft.serial_protocol import ErrorCode, Kind, Learnt
from multigraft.tensors.arrays import Array


class SolvedLayer(Protocol):
    """A last layer that is solved anew; ``multigraft.firmware_gen.learning.learnt_layer.LearntLayer`` is one.

    Attributes:
        task, classes, features: Number of the task, most classes, inputs of the layer.
        most_frames: That its sums can take.
        identity: Of the layer as generated and what it knows.
        is_solved: The layer that answers is not as it was generated.
        frames: In the sums, with a label or without.
        counts: int32, classes: frames of each.
    """

    @property
    def task(self) -> int: ...
    @property
    def classes(self) -> int: ...
    @property
    def features(self) -> int: ...
    @property
    def most_frames(self) -> int: ...
    @property
    def identity(self) -> int: ...
    @property
    def is_solved(self) -> bool: ...
    @property
    def frames(self) -> int: ...
    @property
    def counts(self) -> Array: ...
    def learn(self, features: Array, label: int) -> None: ...
    def solve(self) -> None: ...
    def forget(self) -> None: ...
    def sums(self) -> bytes: ...
    def put_back(self, sums: bytes) -> None: ...
    def stored_layer(self) -> bytes: ...


class RefusedError(Exception):
    """A request that a device refuses."""

    def __init__(self, code: ErrorCode) -> None:
        self.code = code


@dataclass
class FakeLearning:
    """A layer that a fake device solves anew.

    Args:
        layer: What learns; what the device runs has to answer by it.
        features_of: Arrays of all inputs to what the layer receives, int8.
        cycles: What solving takes.
    """

    layer: SolvedLayer
    features_of: Callable[[list[Array]], Array]
    cycles: int = 1000

    def __post_init__(self) -> None:
        self._seen: Array | None = None

    def restart(self) -> None:
        """As without power: all that was learnt is gone."""
        self._seen = None
        self.layer.forget()

    def answered(self, inputs: Sequence[Array], mask: int) -> None:
        """The device answered these tasks on these inputs."""
        if mask >> self.layer.task & 1:
            self._seen = self.features_of(list(inputs))

    def handlers(self) -> dict[Kind, Callable[[bytes], bytes]]:
        """What answers each request."""
        return {
            Kind.LEARNING: self._state,
            Kind.LEARN: self._learn,
            Kind.SOLVE: self._solve,
            Kind.UNLEARN: self._forget,
            Kind.READ_LEARNT: self._read,
            Kind.WRITE_LEARNT: self._write,
        }

    def _state(self, payload: bytes) -> bytes:
        (label,) = protocol.LEARNING_REQUEST.unpack(payload)
        layer = self.layer
        self._check_class(label)
        of_class = layer.frames if label == protocol.KEEP else int(layer.counts[label])
        return protocol.LEARNING_REPLY.pack(
            *(layer.task, layer.is_solved, layer.classes, layer.features, layer.most_frames, of_class, layer.frames),
            *(len(layer.sums()), len(layer.stored_layer()), layer.identity),
        )

    def _learn(self, payload: bytes) -> bytes:
        (label,) = protocol.LEARN_REQUEST.unpack(payload)
        self._check_class(label)
        if self._seen is None:
            raise RefusedError(ErrorCode.NO_FRAME)
        if self.layer.frames >= self.layer.most_frames:
            raise RefusedError(ErrorCode.SUMS_FULL)
        self.layer.learn(self._seen, label)
        self._seen = None
        return self._state(payload)

    def _check_class(self, label: int) -> None:
        if label != protocol.KEEP and label >= self.layer.classes:
            raise RefusedError(ErrorCode.NO_SUCH_CLASS)

    def _solve(self, payload: bytes) -> bytes:
        try:
            self.layer.solve()
        except InputError:
            raise RefusedError(ErrorCode.NOT_SOLVED) from None
        return protocol.SOLVE_REPLY.pack(self.cycles, self.cycles)

    def _forget(self, payload: bytes) -> bytes:
        self.restart()
        return b""

    def _read(self, payload: bytes) -> bytes:
        part, offset, count = protocol.READ_LEARNT_REQUEST.unpack(payload)
        if part not in tuple(Learnt):
            raise RefusedError(ErrorCode.OUT_OF_RANGE)
        held = self.layer.sums() if part == Learnt.SUMS else self.layer.stored_layer()
        if count > protocol.MAX_PAYLOAD or offset + count > len(held):
            raise RefusedError(ErrorCode.OUT_OF_RANGE)
        return held[offset : offset + count]

    def _write(self, payload: bytes) -> bytes:
        head = protocol.WRITE_LEARNT_REQUEST.size
        (offset,) = protocol.WRITE_LEARNT_REQUEST.unpack(payload[:head])
        data, held = payload[head:], self.layer.sums()
        if offset + len(data) > len(held):
            raise RefusedError(ErrorCode.OUT_OF_RANGE)
        self.layer.put_back(held[:offset] + data + held[offset + len(data) :])
        return b""
