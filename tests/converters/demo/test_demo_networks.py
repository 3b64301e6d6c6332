"""What grafting keeps on real networks: the committed ones, on real labelled images they never saw."""

from __future__ import annotations

import pytest

from multigraft.converters.graft.join import Method
from tests.benchmarks.demo_networks import accuracy_kept, demo_task


def test_the_networks_are_as_good_as_stated() -> None:
    stated = {"garment": 0.94, "digit": 0.99, "worn": 0.98}
    assert all(demo_task(name).own_accuracy > least for name, least in stated.items())


@pytest.mark.parametrize(
    ("blocks", "method", "least"),
    [(1, "refit", 0.99), (2, "refit", 0.985), (2, "adapter3", 0.99), (3, "adapter3", 0.95)],
)
def test_refit_keeps_the_accuracy_of_an_independent_network(blocks: int, method: Method, least: float) -> None:
    """Digits on a garment trunk, 512 unlabeled frames; raw sharing is at chance beside it."""
    assert len(demo_task("digit").evidence.fit) == 512
    kept = accuracy_kept("garment", "digit", blocks, method)
    raw = accuracy_kept("garment", "digit", blocks, "raw")
    assert kept >= least and raw < 0.6


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 4])
def test_relatives_share_raw_at_every_depth(blocks: int) -> None:
    assert accuracy_kept("garment", "worn", blocks, "raw") >= 0.99
