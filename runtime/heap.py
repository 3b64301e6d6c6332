"""Python's garbage collector and the time that it takes from frames."""

from __future__ import annotations

import gc


def settle() -> None:
    """Leave all that is loaded by now out of later collections; call it when everything is, before the first frame.

    A full collection walks every object of a process: milliseconds that a frame does not have, at no moment that a
    measurement of times foresees. Objects that live as long as the process need no walk. Garbage among those that an
    earlier call left out is collected first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
