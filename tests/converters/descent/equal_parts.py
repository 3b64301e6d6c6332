"""Plans that share whatever is equal, and nothing else."""

from __future__ import annotations

from multigraft.converters.graft.candidate import costed
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.lineage import lineage
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.graft.tail import tail_behind
from multigraft.converters.network.network import Network


def plan_of(donor: Network, *targets: Network) -> SharingPlan:
    """Everything that is equal shared, whatever it costs."""
    networks = (donor, *targets)
    plan = SharingPlan({}, sum(n.weights for n in networks), sum(n.macs for n in networks))
    for target in targets:
        common = lineage(donor, target).common
        if common is not None:
            join = Join(donor.name, target.name, common.donor_point, common.target_point, "exact", "relative")
            plan = plan.with_graft(target, costed(join, tail_behind(common, target), target))
    return plan
