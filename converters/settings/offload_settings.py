"""Where a server may answer: the table ``[offload]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from multigraft.converters.settings.toml_reader import Place, Reader, choice, key, text
from multigraft.errors import UsageError
from multigraft.runtime.offload.link import Link

Splitting = Literal["none", "auto"]


def _read_link(value: object, place: Place) -> str:
    written: str = text().read(value, place)
    try:
        Link.parse(written)
    except UsageError as error:
        place.fail(f"is {written!r}, which is no link", error.remedy)
    return written


_LINK = Reader("rate and round trip, as in 5mbit,200ms", _read_link)


@dataclass(frozen=True)
class OffloadSettings:
    """Where tasks are cut so that a server can answer from there on."""

    split: Splitting = key(
        "none: tasks are cut where trunks end alone; auto: where a server answers soonest, if it does before the "
        "device (docs/offload.md).",
        choice(*get_args(Splitting)),
        default="none",
    )
    link: str | None = key("The link to the server, rate and round trip: 5mbit,20ms.", _LINK, default=None)

    def check(self, has_frames: bool, place: Place) -> None:
        """Refuse what contradicts itself across keys.

        Args:
            has_frames: Unlabeled frames are named.
            place: Of the table.

        Raises:
            ConfigurationError: The message names the key.
        """
        if self.split == "none":
            return
        if self.link is None:
            place.at("link").fail("is missing", 'write link = "5mbit,20ms", or --link 5mbit,20ms')
        if not has_frames:
            place.at("split").fail("needs frames", 'name unlabeled frames, or write split = "none"')
