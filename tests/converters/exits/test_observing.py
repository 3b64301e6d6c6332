"""What heads are fitted on, of graphs in which other networks have inputs of their own."""

from __future__ import annotations

import numpy as np

from multigraft.converters.exits.observing import observe
from multigraft.converters.exits.places import Places
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.job.progress import silent
from tests.converters.graft.networks import frames, residual_network


def test_features_and_logits_are_those_of_the_network_alone() -> None:
    first, second = residual_network("first", 1), residual_network("second", 2)
    joined = assemble((first, second), SharingPlan({}, 0, 0))
    places, task = Places(joined), joined.tasks[1]
    shown = frames(12)
    candidates, logits = observe(joined, places, task, places.of(task), shown, silent)
    alone = second.run(second.prepare(shown), ["second/logits", "second/block"])
    np.testing.assert_allclose(logits, alone["second/logits"], rtol=1e-4, atol=1e-5)
    block = next(c for c in candidates if c.place.tensor == "second/block" and c.grid == 1)
    means = alone["second/block"].mean(axis=(2, 3))
    step = (max(means.max(), 0) - min(means.min(), 0)) / 255
    np.testing.assert_allclose(block.features, means, rtol=1e-4, atol=0.51 * step)
    assert len(np.unique(block.features)) <= 256
