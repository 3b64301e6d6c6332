"""How the service ends when it is told to, whenever that comes: a bundle on trial has not failed then."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from multigraft.errors import UsageError
from multigraft.runtime.deploy import trial
from multigraft.runtime.service.journal import WARNING, Journal
from multigraft.runtime.service.loop import Loop
from multigraft.runtime.service.settings import Settings


class Stop:
    """SIGTERM ends the loop, or lets it not begin where it comes while the service still loads."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        """Of the bundle, once it is known."""
        self.is_orderly = False
        """Whether the service was told to end, and did."""
        self._is_asked = False
        self._loop: Loop | None = None

    def __call__(self, *_: Any) -> None:
        """As a signal handler."""
        self._is_asked = True
        if self._loop is not None:
            self._loop.end(0)

    @contextlib.contextmanager
    def ends(self, loop: Loop) -> Iterator[None]:
        """End this loop when asked to, or at once if asked before; on SIGINT, too, until the block is left."""
        self._loop = loop
        if self._is_asked:
            loop.end(0)
        with _handled(signal.SIGINT, self):
            yield
        sys.stdout.flush()


@contextlib.contextmanager
def orderly(settings: Settings, journal: Journal) -> Iterator[Stop]:
    """Note of a bundle on trial that it was told to end, and did."""
    stop = Stop()
    try:
        with _handled(signal.SIGTERM, stop):
            yield stop
    except KeyboardInterrupt:
        stop.is_orderly = True
        raise
    finally:
        if stop.is_orderly and stop.folder is not None and settings.bundle is None:
            try:
                trial.ended(settings.state, stop.folder)
            except (OSError, UsageError) as error:
                journal.write(WARNING, "not_noted", f"that the service was told to end cannot be noted: {error}")


@contextlib.contextmanager
def _handled(number: int, handler: Callable[..., Any]) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
