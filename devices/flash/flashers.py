"""From the name of a flashing method to its adapter."""

from __future__ import annotations

from multigraft.devices.flash.flasher import Flasher
from multigraft.devices.flash.tool_flasher import TOOLS, ToolFlasher
from multigraft.devices.flash.uf2_flasher import Uf2Flasher
from multigraft.errors import UsageError


def flasher_for(method: str) -> Flasher:
    """The adapter for a method of :class:`multigraft.firmware_gen.boards.board.Flashing`.

    Raises:
        UsageError: There is none.
    """
    if method == "uf2":
        return Uf2Flasher()
    if method in TOOLS:
        return ToolFlasher(TOOLS[method])
    raise UsageError(f"there is no way to flash called {method!r}", f"choose from: uf2, {', '.join(TOOLS)}")
