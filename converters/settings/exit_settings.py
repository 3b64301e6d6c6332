"""Early exits: the table ``[exits]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from multigraft.converters.settings.toml_reader import Place, choice, integer, key, mapping, nearest, number, text
from multigraft.exits.policy import PromiseKind

Placing = Literal["none", "auto"]


@dataclass(frozen=True)
class ExitSettings:
    """Where classifications may answer early, and what is promised of that."""

    place: Placing = key(
        "none: no exits; auto: where they save most multiply-accumulates of a classification.",
        choice(*get_args(Placing)),
        default="none",
    )
    max_disagreement: float = key(
        "Largest share of frames whose early answer is not that of the whole network.",
        number(lambda v: 0 < v < 0.5, "a number above 0 and below 0.5"),
        default=0.01,
    )
    promise: PromiseKind = key(
        "selective: share of the frames that exit; marginal: share of all frames.",
        choice(*get_args(PromiseKind)),
        default="selective",
    )
    confidence: float = key(
        "Confidence of that promise (exact binomial bounds over a sequence of thresholds).",
        number(lambda v: 0.5 <= v < 1, "a number of at least 0.5 and below 1"),
        default=0.95,
    )
    most: int = key("Exits of a task at most.", integer(1, "a whole number above 0"), default=1)
    audited: float = key(
        "Share of the frames which exit that also run to the end, to see whether the promise still holds.",
        number(lambda v: 0 <= v <= 1, "a number of 0 to 1"),
        default=0.05,
    )
    at: Mapping[str, str] = key(
        "Task to the layer behind which it may exit, in place of the automatic choice.",
        mapping(text(), 'a table of TASK = "LAYER"'),
        default_factory=dict,
    )

    def check(
        self,
        tasks: Mapping[str, str],
        gated: Sequence[str],
        has_frames: bool,
        weights: str,
        has_fallback: bool,
        place: Place,
    ) -> None:
        """Refuse what contradicts itself across keys.

        Args:
            tasks: Name to kind.
            gated: Names of tasks with a gate, which is refused where exits are.
            has_frames: Unlabeled frames are named.
            weights: Bits of the weights that are asked for.
            has_fallback: Binary layers will bring a second model along.
            place: Of the table.

        Raises:
            ConfigurationError: The message names the key.
        """
        for name in self.at:
            if name not in tasks:
                place.at("at").at(name).fail("is not the name of a task", nearest(name, list(tasks)))
            if tasks[name] != "classification":
                place.at("at").at(name).fail(f"is a {tasks[name]}", "name a classification: others have no exits")
        if self.place == "none" and not gated:
            return
        remedy = 'write place = "none"' if not gated else f"leave the gate of {gated[0]} out"
        for name in gated:
            if tasks[name] != "classification":
                place.fail(
                    f"has to say when the {tasks[name]} {name} is not run to the end, which only a classification can",
                    f"leave the gate of {name} out",
                )
        if "classification" not in tasks.values():
            place.at("place").fail("needs a classification, and there is none", 'write place = "none"')
        if not has_frames:
            place.at("place").fail("needs frames", f"name unlabeled frames, or {remedy}")
        if weights != "8bit":
            place.at("place").fail(
                f"contradicts weights = {weights!r}, whose fallback would need thresholds of its own",
                f'write weights = "8bit" or {remedy}',
            )
        if has_fallback:
            place.at("place").fail(
                "contradicts a binary precision with a fallback, which would need thresholds of its own",
                f"write fallback = false in [convert] or {remedy}",
            )
