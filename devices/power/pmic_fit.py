"""From what the Pi 5's power controller tells to what the board draws: a straight line, fitted against a USB meter."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from multigraft.errors import InputError

_DEVIATIONS = 2.0

SLOPES = (0.5, 3.0)
"""No power supply is worse or better: two meters on the same board lie in between."""


@dataclass(frozen=True)
class PmicFit:
    """Watts of the board = ``slope`` x watts of the rails + ``offset_w``.

    Attributes:
        slope: What conversion loses on the way to the rails.
        offset_w: What draws from the input itself, such as USB devices.
        error: Largest relative error to reckon with.
        points: How many pairs of readings it was made of.
        board: Where it comes from.
    """

    slope: float
    offset_w: float
    error: float
    points: int
    board: str

    def watts(self, rails_w: float) -> float:
        """What the board draws."""
        return self.slope * rails_w + self.offset_w

    @classmethod
    def of(cls, rails_w: Sequence[float], board_w: Sequence[float], meter_gain: float, board: str = "this") -> Self:
        """Least squares over pairs of readings under loads of several sizes.

        Args:
            rails_w: Watts of all rails together.
            board_w: Watts of the meter before the board at the same time.
            meter_gain: How far that meter may be off, in proportion.
            board: Which one it is.

        Raises:
            InputError: There are too few pairs, or all at one load.
        """
        x, y = np.asarray(rails_w, np.float64), np.asarray(board_w, np.float64)
        spread = float(np.ptp(x)) if len(x) else 0.0
        if len(x) < 6 or spread < 0.2:
            raise InputError(
                f"{len(x)} pairs of readings over {spread:.2f} W give no line",
                "calibrate for longer, with nothing else running",
            )
        slope, offset = (float(v) for v in np.polyfit(x, y, 1))
        left = y - (slope * x + offset)
        deviation = math.sqrt(float((left**2).sum()) / (len(x) - 2))
        if not SLOPES[0] < slope < SLOPES[1] or deviation > 0.1 * float(y.mean()):
            raise InputError(
                f"the two meters do not agree (slope {slope:.2f}, {deviation:.2f} W beside the line)",
                "put the USB meter right before the board, with nothing else behind it",
            )
        return cls(slope, offset, meter_gain + _DEVIATIONS * deviation / float(y.mean()), len(x), board)

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        from multigraft.files import whole_file

        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """One that was kept.

        Raises:
            InputError: It is damaged.
        """
        try:
            data = json.loads(path.read_text("utf-8"))
            fit = cls(
                float(data["slope"]),
                float(data["offset_w"]),
                float(data["error"]),
                int(data["points"]),
                str(data["board"]),
            )
            if not all(map(math.isfinite, (fit.slope, fit.offset_w, fit.error))) or fit.slope <= 0:
                raise ValueError("figures that no board has")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} holds no calibration ({error})", "calibrate again, or remove it") from error
        return fit


NAME = "pmic-fit.json"
SHARED = Path("/etc/multigraft")
"""A fit for every user of this machine, the service's among them."""

PUBLISHED = PmicFit(1.145, 0.588, 0.10, 0, "one board's published fit")
"""Of one Pi 5, by one person with a wall meter; no spread over boards is known, so 10 % is a guess."""


def kept_fit() -> Path:
    """Where the fit of this board is kept for the user who made it."""
    # A user that systemd made may have no home at all, which pathlib takes for an error.
    home = os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(os.environ.get("XDG_CONFIG_HOME") or home) / "multigraft" / NAME


def known_fit() -> PmicFit:
    """The user's fit, else the machine's, else the published one.

    Raises:
        InputError: What is kept is damaged.
    """
    return next((PmicFit.read(path) for path in (kept_fit(), SHARED / NAME) if path.is_file()), PUBLISHED)
