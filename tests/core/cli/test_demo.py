"""The demo through the real command line, cut off from the network: one table, pictures, and figures that hold."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np

from multigraft import Bundle
from multigraft.cli.shared.settings_options import load_frames
from multigraft.converters.report.summary import Summary
from multigraft.runtime import Engine
from tests.benchmarks.demo_networks import SETTINGS

LEAST_AGREEMENT = {"garment": 0.965, "worn": 0.975, "digit": 0.975}


def test_every_task_is_within_a_point_of_its_own_network_and_shows_what_it_was_asked_for(
    demo: tuple[Path, str],
) -> None:
    summary = Summary.load(demo[0] / "summary.json")
    assert not summary.budget.missed
    assert {t.relation for t in summary.tasks} >= {"donor", "relative"} and any(t.thinned for t in summary.tasks)
    for task in summary.tasks:
        assert task.accuracy is not None and task.accuracy.int8 is not None and task.accuracy.original is not None
        assert task.accuracy.int8 >= task.accuracy.original - 0.01
        for shown in (task.agreement, task.int8_agreement):
            assert shown and shown.lower_bound >= LEAST_AGREEMENT[task.name] and shown.frames >= 1000
        if task.donor is not None:
            assert task.cka is not None and task.share_point


def test_the_bundle_costs_less_and_equals_the_uncut_model(demo: tuple[Path, str]) -> None:
    summary = Summary.load(demo[0] / "summary.json")
    for pair, most in ((summary.weights_bytes, 0.4), (summary.macs, 0.42)):
        assert pair.separate and pair.bundle and pair.bundle <= most * pair.separate
    assert summary.segments.mismatches == 0 and summary.segments.inputs >= 200
    assert len(summary.segments.interpreters) == (2 if sys.version_info < (3, 12) else 1)
    assert summary.energy is not None or summary.energy_reason


def test_what_people_look_at_is_there(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    for name in (
        "report.html",
        "pareto.png",
        "demo.graft",
        "similarity_garment_digit.png",
        "similarity_garment_worn.png",
    ):
        assert (folder / name).stat().st_size > 1000
    assert all(word in printed for word in ("garment", "digit", "relative", "agreement", "latency"))


def test_the_engine_answers_digits_of_the_bundle(demo: tuple[Path, str]) -> None:
    engine = Engine(Bundle.open(demo[0] / "demo.graft"))
    with np.load(SETTINGS.with_name("digits_labelled.npz")) as labelled:
        pairs = list(itertools.islice(zip(labelled["frames"], labelled["digit"], strict=True), 100))
    right = sum(engine.run(frame, tasks=["digit"]).answers["digit"].index == label for frame, label in pairs)  # type: ignore[union-attr]
    assert right >= 90
    assert load_frames(SETTINGS.with_name("digits.npz"))[0].shape == (28, 28)
