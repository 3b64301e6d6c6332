"""Frames that rounding decides are no measure of a conversion; others are, however the network answers."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.packing.steadiness import steady
from multigraft.tensors.preprocessing import prepare_batch
from tests.converters.packing.test_convert import COLOR, amplifying, frames, many_operators

NOISE = [{"color/image": np.random.default_rng(n).random((1, 3, 48, 48), np.float32)} for n in range(2)]
SMOOTH = {"color/image": np.broadcast_to(np.linspace(0, 1, 48, dtype=np.float32), (1, 3, 48, 48)).copy()}


def test_frames_on_which_rounding_is_amplified_are_left_out() -> None:
    model = amplifying().model
    (kept,) = steady(model, ["answer"], [NOISE[0], SMOOTH, NOISE[1]])
    assert kept is SMOOTH


def test_all_are_kept_where_none_is_better() -> None:
    kept = steady(amplifying().model, ["answer"], NOISE)
    assert [id(feed) for feed in kept] == [id(feed) for feed in NOISE]


@pytest.mark.parametrize("seed", range(3))
def test_an_ordinary_network_keeps_all(seed: int) -> None:
    multitask = many_operators()
    grey = np.random.default_rng(seed).random((1, 1, 20, 20), np.float32)
    feeds = [{"color/image": prepare_batch([f], COLOR), "grey/image": grey} for f in frames(COLOR, 4, seed)]
    kept = steady(multitask.model, [o for t in multitask.tasks for o in t.outputs], feeds)
    assert [id(feed) for feed in kept] == [id(feed) for feed in feeds]
