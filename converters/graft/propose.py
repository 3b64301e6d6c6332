"""Where to share when nothing can be measured yet: the share points of a refit plan, by similarity alone.

Similarity predicts agreement badly; a proposal only says what is worth refitting. The device measures agreement with
the original network after the refit, and the build judges by that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multigraft.converters.graft.join import Join
from multigraft.converters.graft.lineage import lineage
from multigraft.converters.graft.search import Similarity, choose_donor, joins_of
from multigraft.converters.graft.sharing_plan import UNSHARED, SharingPlan
from multigraft.converters.job.progress import Report
from multigraft.converters.network.frontier import Frontier
from multigraft.converters.network.network import Network
from multigraft.converters.similarity.representations import by_frames
from multigraft.errors import ConfigurationError

MIN_CKA = 0.8
"""The deepest pair of cut points that is at least so alike is proposed."""

_METHODS = ("refit", "adapter1", "adapter3")


def propose(networks: Sequence[Network], similarity: Similarity, share: Mapping[str, str]) -> tuple[Join, ...]:
    """One join by refit per target.

    Args:
        networks: All of them.
        similarity: Unbiased CKA of two cut points by name.
        share: Task to the donor's layer it shares up to, or "none".

    Raises:
        ConfigurationError: Nothing fits a layer that was asked for.
    """
    return tuple(join for group in by_frames(networks) for join in _within(group, similarity, share))


def solved_on_device(plan: SharingPlan, report: Report) -> tuple[Join, ...]:
    """The joins of a plan that a device can refit; what is left out of them is told.

    Args:
        plan: Chosen on frames at home.
        report: Takes a line for each that is left out.
    """
    joins = []
    for task, graft in plan.grafts.items():
        join = graft.join
        if join.method not in _METHODS:
            continue
        why = ""
        if isinstance(join.target_point, Frontier):
            why = f"it reads several tensors of {join.donor}"
        elif join.donor in plan.grafts:
            why = f"it stands on the branch of {join.donor}"
        if why:
            report(
                f"note: {task} is not refitted on the device: {why}; --share {task}=LAYER takes one tensor of a trunk"
            )
        else:
            joins.append(join)
    return tuple(joins)


def _within(networks: Sequence[Network], similarity: Similarity, share: Mapping[str, str]) -> list[Join]:
    """Those of networks that see the same frames, or crops."""
    free = [n for n in networks if share.get(n.name, UNSHARED) == UNSHARED] or list(networks)
    donor = choose_donor(free, similarity)
    proposed: list[Join] = []
    for target in networks:
        wanted = share.get(target.name)
        if target is donor or wanted == UNSHARED:
            continue
        joins = list(joins_of(donor, target, lineage(donor, target), similarity, wanted))
        if wanted is not None and any(j.method == "exact" for j in joins):
            continue
        # A device refits behind one tensor.
        joins = [j for j in joins if j.method in _METHODS and not isinstance(j.target_point, Frontier)]
        if wanted is None:
            joins = [j for j in joins if (j.cka or 0.0) >= MIN_CKA]
        elif not joins:
            raise ConfigurationError(
                f"task {target.name!r} cannot be refitted behind layer {wanted!r} of {donor.name!r}",
                "choose another layer",
            )
        # The last is the deepest, and of equally deep ones the method that keeps most.
        proposed += joins[-1:]
    return proposed
