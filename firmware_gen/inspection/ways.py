"""What frames cost by the early exits that they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multigraft.serial_protocol import name_on_device
from multigraft.tensors.arrays import Array


def ways_of(
    exits: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Array]], instructions: Sequence[int]
) -> list[dict[str, Any]]:
    """Instructions by way: which task left by which exit (``left``), the most and the least, and of how many frames.

    Args:
        exits: As the report has them.
        answers: Outputs of each frame by their names on the device.
        instructions: Of each frame.
    """
    counts: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for outputs, count in zip(answers, instructions, strict=True):
        left = tuple(
            (e["task"], e["name"]) for e in exits if int(outputs[name_on_device(e["said"])].flat[0]) == e["number"]
        )
        counts.setdefault(left, []).append(count)
    return [
        {"left": dict(left), "instructions": max(some), "instructions_least": min(some), "cases": len(some)}
        for left, some in sorted(counts.items(), key=lambda item: max(item[1]))
    ]
