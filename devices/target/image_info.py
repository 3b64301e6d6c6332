"""What an image for a board with two slots says of itself, in its last bytes."""

from __future__ import annotations

from dataclasses import dataclass

from multigraft import serial_protocol as protocol
from multigraft.errors import InputError


@dataclass(frozen=True)
class ImageInfo:
    """For which board and place an image was linked.

    Attributes:
        run_address: Of its first byte while it runs.
        board: Name of the board.
    """

    run_address: int
    board: str

    @classmethod
    def of(cls, image: bytes, name: str = "the image") -> ImageInfo:
        """What ``image`` says.

        Args:
            image: As objcopy writes it.
            name: What messages call it.

        Raises:
            InputError: It says nothing.
        """
        tail = image[-protocol.IMAGE_INFO.size :]
        magic, run_address, padded = protocol.IMAGE_INFO.unpack(tail.rjust(protocol.IMAGE_INFO.size, b"\0"))
        board = padded.partition(b"\0")[0].decode("latin-1")
        if magic != protocol.IMAGE_MAGIC or not board.isprintable():
            raise InputError(f"{name} is no image for a slot", "name the .bin file that make built in the project")
        return cls(run_address, board)

    def packed(self) -> bytes:
        """The bytes at the image's end."""
        return protocol.IMAGE_INFO.pack(protocol.IMAGE_MAGIC, self.run_address, self.board.encode("ascii"))
