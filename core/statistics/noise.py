"""What a file with noise says of its noise: how much, by what, and what one frame may add at most.

A frame adds a few whole numbers per tap, an integer vector no longer than :data:`UNIT`, whatever the frame: see
:mod:`multigraft.calibration.collect.bounded_sums`. The file sums these vectors and their products with each other. How
far one frame can move all of these sums together follows from that bound and the number of taps alone
(:func:`sensitivity`), and so does the noise that hides it (:mod:`multigraft.statistics.noising`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multigraft.errors import UsageError

UNIT = 4096
"""Length of the longest vector that a frame may add per tap: steps of its numbers are so fine."""

MOST_NUMBERS = 1 << 10
"""Numbers of all taps together are no more."""

UNIT_OF_PRIVACY = (
    "one frame that was used: its numbers there, or all zero in their place; the number of frames is not hidden"
)
"""Stands in every file with noise."""

LEFT_OUT = (
    "channel moments", "histograms of values", "least and greatest values", "products of channels",
    "brightness, sharpness, level and roughness", "margins and entropies", "features for drift",
    "precision by groups, similarity by periods",
)  # fmt: skip
"""What a file with noise lacks: none of it can be bounded at a price in accuracy that is worth it."""

LEAST_EPSILON, MOST_EPSILON = 0.01, 20.0
LEAST_DELTA, MOST_DELTA = 1e-12, 1e-3
DELTA = 1e-6
"""Unless another is asked for."""


@dataclass(frozen=True)
class Privacy:
    """What is asked for.

    Attributes:
        epsilon: Whatever is seen of a file, its odds with and without a frame differ by no more than e**epsilon, ...
        delta: ... but for a chance of this.

    Raises:
        UsageError: One is out of the range that means something.
    """

    epsilon: float
    delta: float = DELTA

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("epsilon", self.epsilon, LEAST_EPSILON, MOST_EPSILON), ("delta", self.delta, LEAST_DELTA, MOST_DELTA),
        ):  # fmt: skip
            if not least <= value <= most:
                raise UsageError(f"{name} is {value:g}", f"give {least:g} to {most:g}")


@dataclass(frozen=True)
class TapBounds:
    """How a tap's representation of a frame becomes what the frame may add; public, equal for all frames.

    Attributes:
        numbers: Random sums of features, or all features where they are few.
        radius: Distance from the public centre at which a frame is cut off, in the tap's own unit.
        is_sketch: Whether they are random sums.
    """

    numbers: int
    radius: float
    is_sketch: bool


Bounds = Mapping[str, TapBounds]
"""Tap to its bounds, in the order of the subject's taps; not all of these need be there."""


@dataclass(frozen=True)
class Noise:
    """What was added to which sums.

    Attributes:
        epsilon: Of any frame among :attr:`frames`, over all releases of its store together.
        delta: The same.
        mechanism: What drew it.
        frames: Frames whose sums carry it. Others in the same statistics are not hidden by noise.
        variance: Of the noise in each sum, all blocks together.
        bounds: Tap to its bounds.
    """

    epsilon: float
    delta: float
    mechanism: str
    frames: int
    variance: float
    bounds: Bounds

    def merge(self, other: Noise) -> Noise:
        """That of sums of both; each frame is in one of them only.

        Raises:
            UsageError: Their frames were bounded in different ways.
        """
        if self.bounds != other.bounds:
            raise UsageError(
                "statistics whose frames were bounded in different ways cannot be merged",
                "collect with the same version and interpreter, or combine those without noise",
            )
        return Noise(
            max(self.epsilon, other.epsilon),
            max(self.delta, other.delta),
            "; ".join(sorted({*self.mechanism.split("; "), *other.mechanism.split("; ")})),
            self.frames + other.frames,
            self.variance + other.variance,
            self.bounds,
        )

    def sentence(self, frames: int) -> str:
        """What it promises.

        Args:
            frames: Frames in the statistics.
        """
        promised = f"({self.epsilon:g}, {self.delta:g})-differentially private"
        if self.frames == frames:
            return f"each of its {frames:,} frames is {promised}"
        return (
            f"of its {frames:,} frames {self.frames:,} are {promised}; nothing but the minimum hides the "
            f"{frames - self.frames:,} others"
        )


def numbers_of(bounds: Bounds) -> int:
    """Numbers that a frame adds, all taps together."""
    return sum(tap.numbers for tap in bounds.values())


def length_of(bounds: Bounds) -> int:
    """How many sums there are: of the numbers, and of their products, each pair once."""
    numbers = numbers_of(bounds)
    return numbers + numbers * (numbers + 1) // 2


def sensitivity(taps: int) -> float:
    """The farthest that one frame can move all sums together (Euclidean), in whole numbers.

    With ``z`` a frame's numbers and ``z_t`` those of a tap, ``|z_t| <= UNIT``, it adds ``UNIT * z`` to the sums and
    ``z_i * z_j`` for ``i <= j`` to the products::

        UNIT^2 |z|^2 + (|z|^4 + sum z_i^4) / 2  <=  UNIT^4 (taps + (taps^2 + taps) / 2)
    """
    return math.nextafter(UNIT**2 * math.sqrt(taps + (taps**2 + taps) / 2), math.inf)


def noise_to_json(noise: Noise) -> dict[str, Any]:
    """Plain data for a manifest."""
    return {
        "epsilon": noise.epsilon,
        "delta": noise.delta,
        "mechanism": noise.mechanism,
        "unit": UNIT_OF_PRIVACY,
        "frames": noise.frames,
        "variance": noise.variance,
        "bounds": [{"tap": name, **dataclasses.asdict(tap)} for name, tap in noise.bounds.items()],
        "left_out": list(LEFT_OUT),
    }


def noise_from_json(data: Any) -> Noise:
    """Read what :func:`noise_to_json` gave.

    Raises:
        ValueError: It is something else.
        KeyError: Something is missing.
        TypeError: Something is of another type.
    """
    epsilon, delta, variance = (_positive(data[name]) for name in ("epsilon", "delta", "variance"))
    bounds = {}
    for entry in data["bounds"]:
        name, numbers, is_sketch = entry["tap"], entry["numbers"], entry["is_sketch"]
        if type(name) is not str or type(numbers) is not int or type(is_sketch) is not bool or numbers < 1:
            raise ValueError("the bounds of a tap are none")
        bounds[name] = TapBounds(numbers, _positive(entry["radius"]), is_sketch)
    frames, mechanism = data["frames"], data["mechanism"]
    if type(frames) is not int or frames < 1 or type(mechanism) is not str or numbers_of(bounds) > MOST_NUMBERS:
        raise ValueError("its noise is of nothing")
    return Noise(epsilon, delta, mechanism, frames, variance, bounds)


def _positive(value: Any) -> float:
    # Sums are smaller than 2**61; so wide a range leaves squares of everything finite.
    if type(value) not in (int, float) or not 1e-36 < value < 1e37:
        raise ValueError("its noise is no number")
    return float(value)
