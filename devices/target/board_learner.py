"""A device that learns: frames and what they are, the layer solved anew, and what was learnt kept elsewhere."""

from __future__ import annotations

from multigraft import serial_protocol as protocol
from multigraft.devices.target import replies
from multigraft.devices.target.requests import Requests
from multigraft.devices.target.target import Target
from multigraft.devices.target.target_info import TargetLearning
from multigraft.errors import DeviceError, UsageError
from multigraft.serial_protocol import Kind, Learnt


class BoardLearner:
    """What a device learns, over its :class:`~multigraft.devices.target.target.Target`.

    Let the device answer a frame (:meth:`Target.infer` or :meth:`Target.stream`), then say what it was. Sums and layer
    lie in the device's RAM: what is not kept here is gone with its power.

    Args:
        target: The device.

    Raises:
        DeviceError: Its firmware learns nothing.
    """

    def __init__(self, target: Target) -> None:
        if not target.info.learns:
            raise DeviceError(
                f"the firmware of the device at {target.name} learns nothing",
                "generate it with: multigraft firmware MODEL --learn TASK --classes N",
            )
        self._target = target
        self._requests: Requests = target.requests
        self._read = replies.learning(list(target.info.tasks))

    def state(self, label: int = protocol.KEEP) -> TargetLearning:
        """What it learns, and how many frames there are of a class so far.

        Raises:
            DeviceError: There is no such class, or the device does not answer.
            UsageError: The label is no number that the protocol has.
        """
        return self._asked(Kind.LEARNING, label)

    def learn(self, label: int) -> TargetLearning:
        """Learn the last frame that the device answered.

        Args:
            label: Its class; :data:`~multigraft.serial_protocol.KEEP` for a frame of a class that the network knew
                before, which is to be answered as before.

        Raises:
            DeviceError: There is no such class, no frame that was not learnt, or no room; or it does not answer.
            UsageError: The label is no number that the protocol has.
        """
        return self._asked(Kind.LEARN, label)

    def _asked(self, kind: Kind, label: int) -> TargetLearning:
        if not 0 <= label <= protocol.KEEP:
            raise UsageError(f"there is no class {label}", "count classes from 0 on")
        return self._requests.ask(kind, protocol.LEARNING_REQUEST.pack(label), self._read, works=True)

    def solve(self) -> tuple[int, int]:
        """Solve the layer, which answers from the next frame on.

        Returns:
            Processor cycles and microseconds that it took on the device.

        Raises:
            DeviceError: Nothing was learnt, or the device does not answer.
        """
        cycles, latency_us = self._requests.ask(Kind.SOLVE, b"", replies.fields(protocol.SOLVE_REPLY), works=True)
        return int(cycles), int(latency_us)

    def forget(self) -> None:
        """Forget all that was learnt: the network is as it was generated."""
        self._requests.ask(Kind.UNLEARN, b"", replies.nothing)

    def sums(self) -> bytes:
        """The sums, to be kept and put back; no frame is in them."""
        return self._all(Learnt.SUMS, self.state().sums_bytes)

    def layer(self) -> bytes:
        """The layer that answers: of each class bias, multiplier and shift (int32), then rows of weights (int8)."""
        return self._all(Learnt.LAYER, self.state().layer_bytes)

    def _all(self, part: Learnt, size: int) -> bytes:
        data = bytearray()
        with self._requests.operation():
            while (left := min(size - len(data), protocol.MAX_PAYLOAD)) > 0:
                request = protocol.READ_LEARNT_REQUEST.pack(part, len(data), left)
                data += self._requests.ask(Kind.READ_LEARNT, request, replies.exactly(left))
                self._requests.carried(left)
        return bytes(data)

    def check_sums(self, sums: bytes, identity: int, state: TargetLearning) -> None:
        """Refuse sums that are of other firmware than the device's.

        Args:
            sums: As :meth:`sums` gave them.
            identity: :attr:`TargetLearning.identity` of the device that they were read from.
            state: What the device says of itself.

        Raises:
            UsageError: They are.
        """
        if len(sums) != state.sums_bytes:
            raise UsageError(
                f"sums of {len(sums)} bytes do not fit the device at {self._target.name}, whose have "
                f"{state.sums_bytes}",
                "put back those of the same firmware",
            )
        if identity != state.identity:
            raise UsageError(
                f"the sums were learnt by firmware with another layer or other known frames than that of the device at "
                f"{self._target.name}",
                "flash the firmware that learnt them, or let the device learn anew",
            )

    def put_back(self, sums: bytes, identity: int, state: TargetLearning | None = None) -> None:
        """Replace the sums by some that were kept; :meth:`solve` then gives the layer that they give.

        Args:
            sums: As :meth:`sums` gave them.
            identity: :attr:`TargetLearning.identity` of the device that they were read from.
            state: What the device says of itself; None asks it.

        Raises:
            DeviceError: The device does not answer.
            UsageError: They are of other firmware.
        """
        self.check_sums(sums, identity, state or self.state())
        room = protocol.MAX_PAYLOAD - protocol.WRITE_LEARNT_REQUEST.size
        with self._requests.operation():
            for offset in range(0, len(sums), room):
                request = protocol.WRITE_LEARNT_REQUEST.pack(offset) + sums[offset : offset + room]
                self._requests.ask(Kind.WRITE_LEARNT, request, replies.nothing)
                self._requests.carried(len(request))
