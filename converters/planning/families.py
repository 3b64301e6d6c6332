"""Which networks are relatives: those of one parent, and of one backbone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from multigraft.converters.graft.lineage import lineage
from multigraft.converters.network.network import Network


def are_relatives(a: Network, b: Network) -> bool:
    """Whether two networks that can see the same frames have weights in common, or weights of a common parent."""
    return a.sees_frames_of(b) and lineage(a, b).share_weights


def families_of(networks: Sequence[Network]) -> list[list[Network]]:
    """Networks in groups whose members are relatives, if only by others; those without any are in none."""
    families: list[list[Network]] = []
    for a, b in itertools.combinations(networks, 2):
        if not are_relatives(a, b):
            continue
        touched = [f for f in families if a in f or b in f]
        joined = {n.name for f in touched for n in f} | {a.name, b.name}
        families = [f for f in families if f not in touched] + [[n for n in networks if n.name in joined]]
    return sorted(families, key=lambda f: networks.index(f[0]))
