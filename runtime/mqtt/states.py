"""Answers and figures as they are told: short JSON, whatever a network says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from multigraft.answers.detections import Detections
from multigraft.answers.embedding import Embedding
from multigraft.answers.per_box import PerBox
from multigraft.bundle.manifest import Manifest, Task
from multigraft.json_encoding import finite
from multigraft.runtime.answers import Answer, Raw, Values
from multigraft.runtime.drawing.words import words
from multigraft.runtime.mqtt.discovery import counted_classes, numbers_of
from multigraft.runtime.mqtt.names import slug
from multigraft.visible import visible

MOST_STATE = 255
"""Letters of a state in Home Assistant."""
MOST_ATTRIBUTES = 12_000
"""Bytes; Home Assistant keeps no attributes of more than 16 KiB in its database."""
MOST_LISTED = 20
_JOULES_IN_WH = 3600


def state_of(manifest: Manifest, task: Task, answer: Answer) -> dict[str, Any]:
    """A task's answer.

    Args:
        manifest: Of the bundle.
        task: The task.
        answer: Its answer.

    Returns:
        ``state`` in words, ``attributes``; ``counts`` of boxes by the class's slug and ``numbers``, where sensors of
        their own show them.
    """
    told: dict[str, Any] = {"state": _shortened(words({task.name: answer})[task.name]), "attributes": _few(answer)}
    if len(json.dumps(told["attributes"])) > MOST_ATTRIBUTES:
        told["attributes"] = {"left_out": f"more than {MOST_ATTRIBUTES} bytes"}
    classes = counted_classes(task)
    if classes:
        found = Counter(answer.label(i) for i in range(len(answer))) if isinstance(answer, Detections) else Counter()
        told["counts"] = {slug(label): found[label] for label in classes}
    count = numbers_of(manifest, task)
    if count:
        values = answer.values.reshape(-1).tolist() if isinstance(answer, Values) else []
        told["numbers"] = finite((values + [None] * count)[:count])
    return told


def machine(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The machine's figures; those that it does not have are left out.

    Args:
        figures: ``rate_hz``, ``power``, ``temperature_c``, ``throttled``, ``camera`` as the service counts them.
    """
    told: dict[str, Any] = {"frame_rate": round(figures["rate_hz"], 2), "camera": _switch(figures["camera"])}
    if figures["temperature_c"] is not None:
        told["temperature"] = round(figures["temperature_c"], 1)
    if figures["throttled"] is not None:
        told["throttled"] = _switch(figures["throttled"])
    for reading in figures["power"]:
        key = slug(f"{reading['source']} {reading['rail']}")
        told.setdefault("rails", {})[key] = f"{reading['source']} {reading['rail']}"
        # More digits than a meter has, since an hour of a small board is a few of them.
        told[f"energy_{key}"] = round(reading["joules"] / _JOULES_IN_WH, 5)
        told[f"power_{key}"] = round(reading["watts"], 3)
    return told


def dumped(told: Mapping[str, Any]) -> str:
    """JSON, without numbers that JSON does not have."""
    return json.dumps(finite(told), ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def _few(answer: Any) -> dict[str, Any]:
    """Its plain data, without what is long by its nature."""
    match answer:
        case Detections():
            counts = Counter(answer.label(i) for i in range(len(answer)))
            few = answer.chosen(range(min(len(answer), MOST_LISTED))).to_json()
            return {"count": len(answer), "classes": dict(counts.most_common(MOST_LISTED)), **few}
        case PerBox():
            pairs = list(zip(answer.numbers, answer.answers, strict=False))[:MOST_LISTED]
            return {
                "of": answer.of,
                "count": len(answer.numbers),
                "boxes": [{"number": n, **_few(a)} for n, a in pairs],
            }
        case Values():
            return {"values": answer.values.reshape(-1)[:MOST_LISTED].tolist(), "count": answer.values.size}
        case Raw():
            return {"shapes": [list(output.shape) for output in answer.outputs]}
        case Embedding(similarity=None):
            return {"size": len(answer.vector)}
        case _:
            plain: dict[str, Any] = answer.to_json()
            return plain


def _switch(is_on: bool) -> str:
    return "ON" if is_on else "OFF"


def _shortened(text: str) -> str:
    text = visible(text)
    return text if len(text) <= MOST_STATE else text[: MOST_STATE - 1] + "…"
