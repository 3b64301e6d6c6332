"""Answers from a server within the service: counted, and told in the log when the server comes and goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from multigraft.runtime.offload.offloading import Offloading
from multigraft.runtime.result import Result
from multigraft.runtime.service.journal import NOTICE, WARNING, Journal
from multigraft.tensors.preparation import Frame


class Offloaded:
    """Improves results in place.

    Args:
        offloading: Asks the server.
        journal: The log.
    """

    def __init__(self, offloading: Offloading, journal: Journal) -> None:
        self._offloading, self._journal = offloading, journal
        self._is_up: bool | None = None
        self._ends: Counter[str] = Counter()

    def improve(self, frames: Mapping[str, Frame], result: Result, begun: float) -> None:
        """Put the server's answers into a result, where it gives them in time.

        Args:
            frames: Task to the frame that it was asked of.
            result: The local answers.
            begun: When the frame began, of :func:`time.monotonic`, seconds.
        """
        result.answers, origins = self._offloading.improve(frames, result.answers, begun, result.exits)
        for origin in origins.values():
            self._ends["server" if origin.is_remote else "failed" if origin.has_failed else "local"] += 1
            if origin.is_remote or origin.has_failed:
                self._seen(origin.is_remote, origin.why)

    def to_json(self) -> dict[str, Any]:
        """Plain data: whether the server answered last (None before the first), answers by their origin, and bytes."""
        ends = {end: self._ends[end] for end in ("server", "local", "failed")}
        return {"up": self._is_up, "ends": ends, "bytes": self._offloading.bytes_sent}

    def close(self) -> None:
        """End the connection."""
        self._offloading.close()

    def _seen(self, is_up: bool, why: str) -> None:
        if is_up == self._is_up:
            return
        if is_up:
            self._journal.write(NOTICE, "server_back", "the server answers hard frames")
        else:
            self._journal.write(WARNING, "server_lost", f"local answers stand: {why}; the server is tried again")
        self._is_up = is_up
