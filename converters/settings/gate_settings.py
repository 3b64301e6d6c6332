"""``[task.gate]``: a task that repeats its last answer where a frame says nothing new, or answers no unknown ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from multigraft.converters.settings.toml_reader import choice, key, number, text

GateKind = Literal["change", "far"]


@dataclass(frozen=True)
class GateSettings:
    """When a task is not run to the end, and what is promised of that; other promises stand in [exits]."""

    kind: GateKind = key(
        "change: the last answer is repeated where nothing new is in the frame; far: a frame that is far from all that "
        "the trunk has seen is answered with unknown.",
        choice(*get_args(GateKind)),
    )
    max_disagreement: float = key(
        "Largest share of repeated answers that are not those of the whole network; far: of frames like the given ones "
        "that are called unknown.",
        number(lambda v: 0 < v < 0.5, "a number above 0 and below 0.5"),
        default=0.01,
    )
    at: str | None = key(
        "Layer behind which it is, in place of the automatic choice; all before it runs on every frame.",
        text(),
        default=None,
    )
