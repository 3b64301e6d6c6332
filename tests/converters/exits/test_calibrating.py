"""What is said of an exit for which no threshold is found."""

from __future__ import annotations

import warnings

import numpy as np

from multigraft.converters.exits.calibrating import calibrate
from multigraft.converters.exits.heads import Head
from multigraft.converters.exits.inserting import Inserted
from multigraft.converters.exits.places import Place
from multigraft.converters.exits.planning import Planned
from multigraft.exits.thresholds import Asked
from tests.exit_bundle import build, policy


def test_an_exit_that_no_frame_reaches_is_left_out_and_said_so() -> None:
    place = Place("trunk", "trunk/conv2", (16, 14, 14), 1, True)
    weight, bias = np.zeros((16, 10), np.float32), np.zeros(10, np.float32)
    head, logits = Head(1, weight, bias, np.zeros((50, 10))), np.zeros((50, 10), np.float32)
    planned = Planned(place, head, "probability", 1.0, np.zeros(50), 0.5, np.ones(50, bool), logits)
    # The whole network's own logits agree with it always, so that the first exit takes all.
    both = [Inserted("garment", "head_garment", "garment/out", planned)] * 2
    frames = list(np.random.default_rng(3).integers(0, 256, (40, 28, 28), np.uint8))
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exits, refused = calibrate(build(policy(0.5)), both, frames, Asked("marginal", 0.5, 0.9), 0.0, said.append)
    assert [found.promise.taken for found in exits] == [20]
    assert refused == both[1:]
    assert said == ["warning: no frame reaches head_garment of garment, the exits before it take all: it is left out"]
