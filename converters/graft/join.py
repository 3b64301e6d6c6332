"""Where and how a target could be grafted onto a donor, before anything is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from multigraft.bundle.manifest import Relation
from multigraft.converters.network.network import CutPoint

Method = Literal["exact", "raw", "stitch", "refit", "adapter1", "adapter3"]
"""``exact``: equal weights, nothing changes; ``raw``: the target's layers as they are behind the donor's features;
``stitch``: the same behind a 1x1 adapter; ``refit``: re-solved; ``adapterK``: a KxK adapter, then re-solved."""

METHOD_TEXT: dict[Method, str] = {
    "exact": "shared outright, the weights are equal",
    "raw": "donor features straight into the target's own layers",
    "stitch": "1x1 adapter solved from moments, then the target's own layers",
    "refit": "target layers re-solved in closed form",
    "adapter1": "1x1 adapter, then target layers re-solved",
    "adapter3": "3x3 adapter, then target layers re-solved",
}


@dataclass(frozen=True)
class Join:
    """Where and how a target would be grafted."""

    donor: str
    target: str
    donor_point: CutPoint
    target_point: CutPoint
    method: Method
    relation: Relation
    cka: float | None = None
    """Unbiased CKA of the two representations, where it was measured."""
