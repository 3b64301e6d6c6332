"""Which frames are looked at: near-duplicates are skipped, the others are spread over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from multigraft.calibration.collect.frame_quality import Signature, difference, signature
from multigraft.calibration.collect.row_quality import row_signature
from multigraft.calibration.collect.selection_rule import SelectionRule
from multigraft.tensors.preparation import Frame


class FrameSelector:
    """Decides frame by frame.

    Args:
        rule: When a frame is used.
        state: State of an earlier run; see :attr:`state`.
        takes_rows: Frames are rows of numbers.

    Attributes:
        skipped: Frames refused since it was made.
    """

    def __init__(self, rule: SelectionRule, state: Any = None, takes_rows: bool = False) -> None:
        self._rule = rule
        self._signature: Callable[[Frame], Signature] = row_signature if takes_rows else signature
        self._last: Signature | None = None
        self._used_s: float | None = None
        self._count = 0
        self.skipped = 0
        if state is not None:
            self._count = int(state["count"])
            self._last = np.array(state["signature"], np.float32) if state["signature"] else None

    @property
    def state(self) -> dict[str, Any]:
        """Plain data that a resumed run goes on with. Held in the store, never in a statistics file."""
        return {"count": self._count, "signature": [] if self._last is None else self._last.tolist()}

    def choose(self, frame: Frame, now_s: float) -> Signature | None:
        """The frame's signature if it is to be used, else None.

        Args:
            frame: A picture (uint8, HxW or HxWx3), or a row.
            now_s: A clock that never goes back, seconds.
        """
        count, self._count = self._count, self._count + 1
        rule = self._rule
        early = self._used_s is not None and now_s - self._used_s < rule.interval_s
        if count % rule.every or early:
            self.skipped += 1
            return None
        seen = self._signature(frame)
        if self._last is not None and difference(seen, self._last) < rule.min_difference:
            self.skipped += 1
            return None
        self._last, self._used_s = seen, now_s
        return seen
