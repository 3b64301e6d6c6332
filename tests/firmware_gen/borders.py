"""An arena in which no two buffers share or touch: each is alone, with a border on both sides."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.firmware_gen.memory.planner import ArenaPlan, Buffer
from multigraft.firmware_gen.project.project import Project

BORDER = 64


def apart(buffers: Sequence[Buffer], *rest: object) -> ArenaPlan:
    """In place of :func:`multigraft.firmware_gen.memory.planner.plan`."""
    offsets, end = {}, BORDER
    for buffer in buffers:
        offsets[buffer.name] = end
        end += -(-buffer.size // 8) * 8 + BORDER
    return ArenaPlan(offsets, end, end)


def borders(project: Project) -> str:
    """Offset and bytes of all that lies between the buffers, as rows of a C array."""
    gaps, end = [], 0
    for name, offset in sorted(project.plan.offsets.items(), key=lambda item: item[1]):
        gaps.append((end, offset - end))
        end = offset + project.lifetimes[name][0]
    gaps.append((end, project.plan.size - end))
    return ",".join(f"{{{start},{size}}}" for start, size in gaps)
