"""Figures told at a pace, in a thread: a collector that is slow, gone or wrong holds nobody up."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from multigraft.errors import ConfigurationError, MultigraftError
from multigraft.reading import printable
from multigraft.runtime.otlp.environment import INTERVAL_S, interval_s
from multigraft.runtime.otlp.exporter import Exporter

LAST_S = 1.5
"""For the last figures, when the service ends."""


class Exporting:
    """Tells a collector, from :meth:`start` on.

    Args:
        exporter: Sends.
        families: Prometheus' families now.
        tell: Is told in a sentence, once, when figures are not taken any more, and when they are again.
        environment: OpenTelemetry's variables.
    """

    def __init__(
        self,
        exporter: Exporter,
        families: Callable[[], Iterable[Any]],
        tell: Callable[[bool, str], None],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._exporter, self._families, self._tell = exporter, families, tell
        self._environment = environment
        self._stopped = threading.Event()
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self.ends: Counter[str] = Counter({"sent": 0, "failed": 0})
        """Exports, by what became of them."""

    @property
    def is_up(self) -> bool:
        """Whether the last figures were taken."""
        return self.ends["sent"] > 0 and not self._trouble

    def to_json(self) -> dict[str, Any]:
        """How it does, as plain data."""
        return {"up": self.is_up, "ends": dict(self.ends)}

    def start(self) -> None:
        """Tell from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the last figures, if the collector takes them soon."""
        self._stopped.set()
        self._thread.join(LAST_S)

    def once(self) -> None:
        """Tell the figures now."""
        try:
            self._exporter.send(self._families())
        except MultigraftError as error:
            self._failed(str(error))
        except Exception as error:
            # Whatever libraries raise, it is not worth the service.
            self._failed(printable(f"figures cannot be told to OpenTelemetry ({error!r})."))
        else:
            self.ends["sent"] += 1
            if self._trouble:
                self._trouble = ""
                self._tell(True, "the collector takes figures again")

    def _run(self) -> None:
        pause_s = INTERVAL_S
        try:
            pause_s = interval_s(self._environment)
        except ConfigurationError as error:
            self._tell(False, f"{error.problem}, so that figures are told every {INTERVAL_S:g} s; {error.remedy}.")
        while not self._stopped.wait(pause_s):
            self.once()
        self.once()

    def _failed(self, sentence: str) -> None:
        self.ends["failed"] += 1
        if sentence != self._trouble:
            self._trouble = sentence
            self._tell(False, sentence)
