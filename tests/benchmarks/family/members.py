"""Two families of the demo's networks, and one that stands between: who is whose relative, of which degree.

Relatives are tuned on the first half of the demo's labelled frames, and judged on others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.network.labelled import Labelled
from multigraft.converters.network.network import Network
from tests.benchmarks.demo_networks import DemoTask, demo_task
from tests.benchmarks.family.tuning import DEGREES, Degree, tuned

TUNED_ON = 1000
FIT, ACCEPT, JUDGED = 96, 200, 500
LAYER_OF_GARMENT = (0, 0, 1, 0, 1, 2, 0, 2, 3, 2)
"""Garment to how it is worn: 0 on the skin, 1 above others, 2 on the feet, 3 carried."""

HALF_OF_DIGIT = (0, 0, 1, 1, 2, 2, 3, 3, 4, 4)
"""Digit to its half, rounded down."""


@dataclass(frozen=True)
class Member:
    """A network, what it is tried on, and whence it comes.

    Attributes:
        family: Name of the family; networks of two are independent.
        degree: What was tuned, from the parent on; None for the parent.
    """

    network: Network
    evidence: Evidence
    labelled: Labelled
    family: str
    degree: Degree | None


def members(is_quick: bool = False) -> list[Member]:
    """Both families, and a network for garments whose layers started as those for digits.

    A quick study does without that one, and without those of which all layers are tuned here.
    """
    degrees = DEGREES[:2] if is_quick else DEGREES
    worn, garment, digit = (demo_task(name) for name in ("worn", "garment", "digit"))
    made = [
        *_family("garment", "layer", LAYER_OF_GARMENT, degrees),
        _member(worn.network, worn, worn.labelled.labels, "garment", "all"),
        *_family("digit", "half", HALF_OF_DIGIT, degrees[:1] if is_quick else degrees),
    ]
    if is_quick:
        return made
    frames = garment.labelled.frames[:TUNED_ON]
    seen = Network("again", digit.network.model, garment.network.preprocessing)
    model = tuned(seen, "all", frames, garment.labelled.labels[:TUNED_ON], seed=0)
    again = Network("again", model, garment.network.preprocessing)
    return [*made, _member(again, garment, garment.labelled.labels, "again", None)]


def degree_of(a: Member, b: Member) -> str:
    """``independent``, or what was tuned in that of the two relatives of which more was."""
    if a.family != b.family:
        return "independent"
    return max((m.degree or "head" for m in (a, b)), key=DEGREES.index)


def _family(parent: str, task: str, meaning: tuple[int, ...], degrees: Sequence[Degree]) -> list[Member]:
    came = demo_task(parent)
    labels = np.array(meaning, np.int64)[came.labelled.labels]
    found = [_member(came.network, came, came.labelled.labels, parent, None)]
    for degree in degrees:
        name = f"{task}_{degree}"
        model = tuned(came.network, degree, came.labelled.frames[:TUNED_ON], labels[:TUNED_ON], seed=0)
        found.append(_member(Network(name, model, came.network.preprocessing), came, labels, parent, degree))
    return found


def _member(
    network: Network, came: DemoTask, labels: npt.NDArray[np.int64], family: str, degree: Degree | None
) -> Member:
    seen, judged = came.evidence, slice(TUNED_ON, TUNED_ON + JUDGED)
    return Member(
        network,
        Evidence(seen.fit[:FIT], seen.accept[:ACCEPT]),
        Labelled(came.labelled.frames[judged], labels[judged]),
        family,
        degree,
    )
