"""What is said of an exit for which no threshold is found, and of one that is no more than a constant."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np

from multigraft.converters.exits.calibrating import calibrate
from multigraft.converters.exits.constant_answer import constant_answer
from multigraft.converters.exits.heads import Head
from multigraft.converters.exits.inserting import Inserted
from multigraft.converters.exits.places import Place
from multigraft.converters.exits.planning import Planned
from multigraft.exits.thresholds import Asked
from tests.exit_bundle import build, policy


def planned(expected_rate: float = 0.5) -> Planned:
    place = Place("trunk", "trunk/conv2", (16, 14, 14), 1, True)
    weight, bias = np.zeros((16, 10), np.float32), np.zeros(10, np.float32)
    head, logits = Head(1, weight, bias, np.zeros((50, 10))), np.zeros((50, 10), np.float32)
    return Planned(place, head, "probability", 1.0, np.zeros(50), expected_rate, np.ones(50, bool), logits)


def test_an_exit_that_no_frame_reaches_is_left_out_and_said_so() -> None:
    # The whole network's own logits agree with it always, so that the first exit takes all.
    both = [Inserted("garment", "head_garment", "garment/out", planned())] * 2
    frames = list(np.random.default_rng(3).integers(0, 256, (40, 28, 28), np.uint8))
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exits, refused = calibrate(build(policy(0.5)), both, frames, Asked("marginal", 0.5, 0.9), 0.0, said.append)
    assert [found.promise.taken for found in exits] == [20]
    assert refused == both[1:]
    assert said == ["warning: no frame reaches head_garment of garment, the exits before it take all: it is left out"]


def test_of_blocks_the_least_that_a_bound_of_blocks_can_show_is_told() -> None:
    one = Inserted("garment", "head_garment", "garment/out", dataclasses.replace(planned(), block=2))
    frames = list(np.random.default_rng(3).integers(0, 256, (40, 28, 28), np.uint8))
    said: list[str] = []
    assert calibrate(build(policy(0.5)), [one], frames, Asked("selective", 0.05, 0.95), 0.0, said.append)[0] == []
    assert "with 40 frames, 300 are the least: it is left out; give more frames" in said[0]


def test_an_exit_that_says_one_class_of_frames_of_one_class_is_left_out() -> None:
    one = Inserted("garment", "head_garment", "garment/out", planned())
    frames = [np.full((28, 28), 80, np.uint8)] * 40
    said: list[str] = []
    exits, refused = calibrate(build(policy(0.5)), [one], frames, Asked("selective", 0.2, 0.9), 0.0, said.append)
    assert (exits, refused) == ([], [one])
    assert "alone, on 40 of the 40 frames that reach it; none is of another class" in said[0]
    assert "give frames of other classes, more than 20 % of all" in said[0]


def told(whole: list[int], taken: list[int], early: list[int] | None = None) -> bool | None:
    """Whether an exit is blind; None where it is no constant."""
    found = constant_answer(np.array(early or [0] * len(whole)), np.array(whole), np.array(taken, bool))
    return None if found is None else found.is_blind


def test_a_constant_is_told_from_an_exit_that_knows_when_to_leave_frames_alone() -> None:
    assert told([0] * 100, [1] * 100) is True
    assert told([0] * 99 + [1], [1] * 100) is True, "it takes what it should leave"
    assert told([0] * 50 + [1] * 50, [1] * 50 + [0] * 50) is None, "one easy class may be all that leaves"
    assert told([0] * 99 + [1], [1] * 60 + [0] * 40) is False, "one in three would have left the other frame by chance"
    assert told([0] * 99 + [1], [1] * 99 + [0]) is None
    assert told([0] * 99 + [1], [1] * 100, [0] * 99 + [1]) is None, "it answers another class where it has to"
