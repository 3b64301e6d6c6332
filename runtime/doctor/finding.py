"""One line of what the doctor says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "missing", "wrong"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, and how it is.

    Attributes:
        name: What was looked at.
        state: ``ok``; ``missing``: not there, and multigraft runs without; ``wrong``: something fails, or figures
            mislead, until it is mended.
        said: What was seen.
        remedy: What to do or to type; empty only where there is nothing to do.
        private: Parts of ``said`` and ``remedy`` that may tell of a person or a place, such as a camera's own name.
    """

    name: str
    state: State
    said: str
    remedy: str = ""
    private: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.state != "ok" and not self.remedy:
            raise ValueError(f"{self.name} is {self.state} and names no remedy")

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the machine's owner."""
        plain = asdict(self)
        del plain["private"]
        return plain
