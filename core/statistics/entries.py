"""What the arrays in statistics are called: one name for who adds them and who reads them."""

from __future__ import annotations

DETAILED = "detailed"
"""Count of the frames that channel moments, ranges, histograms of values and features for drift are of."""

INNER = "inner"
"""Count of the frames that ranges of tensors between the taps are of; fewer than the others."""

CROSSED = "crossed"
"""Count of the frames that products of channels between taps are of."""

CROPS = "crops"
"""Count of the crops that came from the frames; a frame counts once, whatever number of crops came from it."""

DETAILED_CROPS = "detailed crops"
"""Count of the crops that channel moments are of, of the :data:`DETAILED` frames."""

BRIGHTNESS = "brightness"
"""Counts of frames by their mean grey."""

SHARPNESS = "sharpness"
"""Counts of frames by their sharpness."""

LEVEL = "level"
"""Counts of rows by their root mean square."""

ROUGHNESS = "roughness"
"""Counts of rows by the root mean square of their steps."""

IMAGE, ROW = "image", "row"
"""What drift is tested on besides networks: the features of the frames themselves."""

BOUNDED = "bounded"
"""Sums of numbers of which a frame adds no more than a bound, then of their products, each pair once: what noise is
added to, see :mod:`multigraft.statistics.noise`."""

_CROSS_SUMS = ("first/", "second/", "cross/")
_CROSS_ROWS = "rows/"


def channel_sums(tap: str) -> str:
    """Sums over frames and positions, one per channel."""
    return f"channel/{tap}"


def channel_squares(tap: str) -> str:
    """Sums of squares over frames and positions, one per channel."""
    return f"square/{tap}"


def value_counts(tensor: str) -> str:
    """Histogram of values (:mod:`multigraft.statistics.value_histogram`)."""
    return f"values/{tensor}"


def margins(network: str) -> str:
    """Counts of frames by a classifier's top-1 margin."""
    return f"margin/{network}"


def entropies(network: str) -> str:
    """Counts of frames by the entropy of a classifier's outputs."""
    return f"entropy/{network}"


def drift_means(group: str) -> str:
    """Sums over minibatches of the mean features that drift is tested on."""
    return f"drift/{group}"


def drift_products(group: str) -> str:
    """Sums over minibatches of the products of these features."""
    return f"drift2/{group}"


def cross_rows(tap: str) -> str:
    """Count of the positions of the :data:`CROSSED` frames that went into the products."""
    return f"{_CROSS_ROWS}{tap}"


def first_moments(tap: str) -> str:
    """Sums over those positions, one per channel."""
    return f"first/{tap}"


def second_moments(tap: str) -> str:
    """Sums of products of a tap's channels with each other."""
    return f"second/{tap}"


def cross_moments(first: str, second: str) -> str:
    """Sums of products of one tap's channels with another's."""
    return f"cross/{first}|{second}"


def is_cross_sum(name: str) -> bool:
    """Whether a sum is of the :data:`CROSSED` frames only."""
    return name.startswith(_CROSS_SUMS)


def is_cross_count(name: str) -> bool:
    """Whether a count is of the :data:`CROSSED` frames only."""
    return name == CROSSED or name.startswith(_CROSS_ROWS)
