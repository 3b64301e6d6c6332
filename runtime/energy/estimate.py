"""Energy without a sensor: multiply-accumulates and bytes by a table. Always an estimate, never a measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multigraft.bundle.manifest import Manifest, Segment
from multigraft.errors import UsageError


@dataclass(frozen=True)
class Table:
    """What a processor is taken to need, in picojoules.

    Attributes:
        name: Of the table.
        pj_per_mac: Precision of a segment to picojoules of a multiply-accumulate, with the instruction it is part of.
        pj_per_byte: Of a byte of weights or of a boundary tensor, from or to memory.
        source: Where the figures come from.
    """

    name: str
    pj_per_mac: Mapping[str, float]
    pj_per_byte: float
    source: str

    def mac_pj(self, precision: str) -> float:
        """Of a precision that the table does not name: the dearest it names."""
        return self.pj_per_mac.get(precision, max(self.pj_per_mac.values()))


_INSTRUCTION_PJ = 70.0
TABLES = {
    table.name: table
    for table in (
        Table(
            "45nm",
            {"int8": 0.3 + _INSTRUCTION_PJ / 16, "float32": 4.6 + _INSTRUCTION_PJ / 4},
            1300 / 8,
            "Horowitz, ISSCC 2014: 45 nm, multiply and add, an instruction of 70 pJ over 128 bits, 1.3 nJ for 8 bytes",
        ),
    )
}


@dataclass(frozen=True)
class Estimate:
    """What a frame may need, by a table.

    Attributes:
        table: Which.
        segments_j: Segment to joules.
    """

    table: Table
    segments_j: dict[str, float]

    @property
    def energy_j(self) -> float:
        """Of a frame that asks all of them."""
        return sum(self.segments_j.values())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        table = {"name": self.table.name, "source": self.table.source}
        return {"estimated_j_per_frame": self.energy_j, "estimated_j_per_segment": self.segments_j, "table": table}


def table_of(text: str) -> Table:
    """A table by its name, or ``MAC,BYTE`` in picojoules.

    Raises:
        UsageError: It is neither.
    """
    if text in TABLES:
        return TABLES[text]
    try:
        mac_pj, byte_pj = (float(part) for part in text.split(","))
    except ValueError as error:
        names = ", ".join(TABLES)
        raise UsageError(
            f"there is no table {text}", f"choose from: {names}; or give picojoules, as in 5,160 (a MAC, a byte)"
        ) from error
    if not (math.isfinite(mac_pj) and math.isfinite(byte_pj)) or min(mac_pj, byte_pj) < 0:
        raise UsageError(f"{text} picojoules", "give two numbers of 0 or more")
    return Table(text, {"any": mac_pj}, byte_pj, "given")


def estimate(manifest: Manifest, segments: tuple[str, ...], table: Table) -> Estimate:
    """What these segments may need for one frame each.

    Args:
        manifest: Of the bundle.
        segments: Their names.
        table: Picojoules.
    """
    return Estimate(table, {name: _segment_j(manifest, manifest.segment(name), table) for name in segments})


def _segment_j(manifest: Manifest, segment: Segment, table: Table) -> float:
    names = (*segment.inputs.values(), *segment.outputs.values())
    moved = segment.weights_bytes + sum(_bytes(manifest, name) for name in names)
    return (segment.macs * table.mac_pj(segment.precision) + moved * table.pj_per_byte) * 1e-12


def _bytes(manifest: Manifest, tensor: str) -> int:
    import numpy as np

    spec = manifest.tensor(tensor)
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
