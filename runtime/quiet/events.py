"""What happened: things and classes that appear and vanish, and nothing while all stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from multigraft.answers.detections import Detections
from multigraft.answers.multi_label import MultiLabel
from multigraft.runtime.answers import Answer, Classification


@dataclass(frozen=True, order=True)
class Thing:
    """Who or what is there.

    Attributes:
        task: That sees it.
        label: Name of its class, else its number.
        identity: Of one of several; None where nobody follows them.
    """

    task: str
    label: str
    identity: int | None = None


class Events:
    """Turns the answers of one stream of frames into what changed.

    Args:
        patience: Frames that a thing may be away before it has vanished.
    """

    def __init__(self, patience: int = 0) -> None:
        self._patience = patience
        self._away: dict[Thing, int] = {}

    def step(self, answers: Mapping[str, Answer]) -> list[dict[str, Any]]:
        """``{"event": "appears" or "vanishes", "task", "label", "id" (where it is known)}`` each, vanished ones first.

        A task without an answer keeps its things as they are.
        """
        there = set(_things(answers))
        for thing in self._away:
            if thing in there:
                self._away[thing] = 0
            elif thing.task in answers:
                self._away[thing] += 1
        gone = [thing for thing, frames in self._away.items() if frames > self._patience]
        for thing in gone:
            del self._away[thing]
        new = sorted(there - self._away.keys(), key=_order)
        self._away |= dict.fromkeys(new, 0)
        return [_event("vanishes", thing) for thing in sorted(gone, key=_order)] + [_event("appears", t) for t in new]


def _order(thing: Thing) -> tuple[str, str, int]:
    return thing.task, thing.label, -1 if thing.identity is None else thing.identity


def _event(what: str, thing: Thing) -> dict[str, Any]:
    identity = {} if thing.identity is None else {"id": thing.identity}
    return {"event": what, "task": thing.task, "label": thing.label, **identity}


def _things(answers: Mapping[str, Answer]) -> Iterator[Thing]:
    for task, answer in answers.items():
        match answer:
            case Classification():
                yield Thing(task, str(answer.index) if answer.label is None else answer.label)
            case MultiLabel():
                yield from (Thing(task, answer.label(i)) for i in range(len(answer)))
            case Detections(ids=None):
                yield from (Thing(task, answer.label(i)) for i in range(len(answer)))
            case Detections():
                known = [i for i in range(len(answer)) if answer.ids is not None and answer.ids[i] >= 0]
                yield from (Thing(task, answer.label(i), int(answer.ids[i])) for i in known)  # type: ignore[index]
