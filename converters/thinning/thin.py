"""A network with fewer channels, in closed form: chosen by pivots, then every layer solved anew.

First the sums of what every layer reads are taken from the network as it is. They say which channels to keep, and what
each number of them costs; how much that moves the answers is measured once for each group. Channels go where it moves
them least for what is saved. Then all layers are walked in order and solved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Network
from multigraft.converters.network.thinned_network import ThinnedLayer
from multigraft.converters.thinning.allot import allot
from multigraft.converters.thinning.channels import Channels
from multigraft.converters.thinning.narrow import Indices, kept_places, narrowed
from multigraft.converters.thinning.resolve import resolved
from multigraft.converters.thinning.survey import Survey, survey


@dataclass(frozen=True)
class Thinned:
    """What thinning made.

    Attributes:
        network: With fewer channels; the given one is as it was.
        layers: That write fewer channels; others keep theirs, since something needs their number or they are worth it.
    """

    network: Network
    layers: tuple[ThinnedLayer, ...]


def thin(
    network: Network,
    frames: Frames,
    share: float,
    *,
    macs: float = 1.0,
    seed: int = 0,
    report: Report = silent,
    found: Survey | None = None,
) -> Thinned:
    """Thin to ``share`` of the cost, or as near as channels go.

    Args:
        network: It stays untouched.
        frames: Unlabeled.
        share: 0..1; 1 leaves the network as it is.
        macs: How much of the cost are multiply-accumulates, 0..1; the rest are weights.
        seed: Picks the rows where not all are used.
        report: Takes a line per layer.
        found: What :func:`survey` found of the network, where it is thinned to several shares.
    """
    found = survey(network, frames, seed, report) if found is None else found
    return thinned_to(found, allot(found, share, macs), frames, seed, report)


def thinned_to(found: Survey, widths: Sequence[int], frames: Frames, seed: int = 0, report: Report = silent) -> Thinned:
    """Thin to so many channels of each group.

    Args:
        found: What was seen of the network, which stays untouched.
        widths: Channels of each group.
        frames: Unlabeled.
        seed: Picks the rows where not all are used.
        report: Takes a line per layer.
    """
    network, groups = found.network, found.groups
    if all(width == group.count for width, group in zip(widths, groups, strict=True)):
        return Thinned(network, ())
    chosen = found.chosen(widths)
    kept = kept_places(network, groups, chosen)
    made, errors = resolved(network, narrowed(network, groups, chosen), kept, frames, seed, report)
    return Thinned(made, narrower_layers(network, groups, chosen, errors))


def narrower_layers(
    network: Network, groups: Sequence[Channels], chosen: Sequence[Indices], errors: Mapping[int, float]
) -> tuple[ThinnedLayer, ...]:
    """The layers that write fewer channels where ``chosen`` ones of each group stay, in order.

    Args:
        network: As it came.
        groups: Of its channels.
        chosen: Of each group.
        errors: Node's index to the relative squared error of what it gives.
    """
    left = kept_places(network, groups, chosen)
    outputs = {index: network.nodes[index].output[0] for group in groups for index in group.makers}
    return tuple(
        ThinnedLayer(
            _label(output),
            network.shapes[output][left[output][1] - 1],
            len(left[output][0]),
            errors.get(index, 0.0),
        )
        for index, output in sorted(outputs.items())
        if output in left
    )


def _label(tensor: str) -> str:
    return tensor.split("/", 1)[1]
