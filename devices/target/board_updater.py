"""A device with two slots for images: what runs, and an update of the other slot."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

from multigraft import serial_protocol as protocol
from multigraft.devices.target import replies
from multigraft.devices.target.image_info import ImageInfo
from multigraft.devices.target.requests import SLOWEST_FLASH_BYTES_PER_S, Requests
from multigraft.devices.target.target import Target
from multigraft.devices.target.target_info import TargetSlots
from multigraft.errors import DeviceError
from multigraft.serial_protocol import Kind


class BoardUpdater:
    """Updates a device over its :class:`~multigraft.devices.target.target.Target`.

    The slot that runs is never written. The power may fail at any time: the device then starts with the old image, or
    with the new one if that was complete.

    Args:
        target: The device.

    Raises:
        DeviceError: It takes no updates.
    """

    def __init__(self, target: Target) -> None:
        if not target.info.takes_updates:
            raise DeviceError(f"the device at {target.name} has no second slot", "flash it with multigraft flash")
        self._target = target
        self._requests: Requests = target.requests

    def slots(self) -> TargetSlots:
        """What runs, and what an image for the other slot has to be.

        Raises:
            DeviceError: The device does not answer.
        """
        return self._requests.ask(Kind.UPDATE_SLOTS, b"", replies.slots, works=True)

    def runs(self, images: Sequence[bytes]) -> bool:
        """Whether one of ``images`` is what runs, now and from the next start on, so that there is nothing to write.

        Raises:
            DeviceError: The device does not answer.
        """
        slots = self.slots()
        return any((len(i), zlib.crc32(i)) == (slots.running_bytes, slots.running_crc) for i in images)

    def update(self, images: Sequence[bytes], progress: Callable[[int, int], None] = lambda done, total: None) -> int:
        """Write an image into the slot that is not running; the device runs it from its next start on.

        Nothing is erased before the image was found to fit.

        Args:
            images: The same program, linked for each place it may run at.
            progress: Called with bytes written and bytes in all.

        Returns:
            The slot.

        Raises:
            DeviceError: The device refuses the image, or does not answer. It keeps running what it ran.
            InputError: One of them is no image for a slot.
        """
        image = self._fitting(images)
        begin = protocol.UPDATE_BEGIN_REQUEST.pack(
            len(image), zlib.crc32(image), *protocol.IMAGE_INFO.unpack(image[-protocol.IMAGE_INFO.size :])
        )
        slot = self._requests.ask(Kind.UPDATE_BEGIN, begin, replies.slot, works=True)
        room = protocol.MAX_PAYLOAD - protocol.UPDATE_WRITE_REQUEST.size
        with self._requests.operation():
            for offset in range(0, len(image), room):
                piece = image[offset : offset + room]
                request = protocol.UPDATE_WRITE_REQUEST.pack(offset) + piece
                self._requests.ask(Kind.UPDATE_WRITE, request, replies.nothing, works=True)
                self._requests.carried(len(piece), SLOWEST_FLASH_BYTES_PER_S)
                progress(offset + len(piece), len(image))
        self._requests.ask(Kind.UPDATE_COMMIT, b"", replies.nothing, works=True)
        return slot

    def _fitting(self, images: Sequence[bytes]) -> bytes:
        """The image for the slot that does not run."""
        name, board, slots = self._target.name, self._target.info.board, self.slots()
        said = {ImageInfo.of(image): image for image in images}
        if others := sorted({info.board for info in said} - {board}):
            raise DeviceError(
                f"the device at {name} is a {board}, the image is for a {others[0]}", "choose the right port or image"
            )
        image = said.get(ImageInfo(slots.run_address, board))
        if image is None:
            there = ", ".join(f"0x{info.run_address:08x}" for info in said)
            raise DeviceError(
                f"the free slot of the device at {name} runs images at 0x{slots.run_address:08x}, not at {there}",
                "leave out --image, so that the right one of the project's two is taken",
            )
        if len(image) > slots.room_bytes:
            raise DeviceError(
                f"the image is {len(image) - slots.room_bytes} bytes larger than a slot of the device at {name}",
                "choose a smaller network",
            )
        return image
