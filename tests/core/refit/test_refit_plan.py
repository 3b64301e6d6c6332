"""Refit plans and refit files come back as they were written; anything else is refused in one sentence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.errors import BundleError, InputError
from multigraft.npz import npz_bytes, read_npz
from multigraft.refit.linear_layer import Geometry
from multigraft.refit.refit_plan import (
    ARRAYS,
    PLAN,
    PlannedGraft,
    Refit,
    RefitPlan,
    SolvedGraft,
    SolvedLayer,
    Stage,
)
from tests.core.bundle.samples import CONTENTS, manifest

STAGES = (
    Stage("digit/c1", Geometry("convolution", (4, 2, 3, 3), strides=(2, 1)), "now", "then", "a", "b", 0.0, None),
    Stage("digit/fc", Geometry("dense", (8, 3), takes_bias=False), "now2", "then2", is_adapter=True),
    Stage("digit/c2", Geometry("convolution", (2, 4, 1, 1)), "now3", "then3", left=(0, 3), axis=1),
)
GRAFT = PlannedGraft(
    "digit", "garment", "garment/r1", "digit/r1", "refit", "relative", "classification", ("digit/out",),
    ("grafted/out",), STAGES, {"digit/r1": (0, 3, 1, 2)}, 0.75, None, {"digit/c2": (0, 3)},
)  # fmt: skip
PLANNED = RefitPlan((GRAFT,), {"digit": "ab" * 32})
PLACES: dict[str, npt.NDArray[Any]] = {"places": np.arange(5), "weights": np.array([[0.5]], np.float32)}


def refit_bundle(plan: bytes = PLANNED.to_bytes(), arrays: bytes = npz_bytes(PLACES)) -> Bundle:
    return Bundle.create(manifest(), {**CONTENTS, PLAN: plan, ARRAYS: arrays})


def test_a_plan_comes_back_out_of_its_bundle() -> None:
    plan, arrays = RefitPlan.of(refit_bundle())
    assert plan == PLANNED
    assert arrays.keys() == PLACES.keys()
    for name, array in PLACES.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_a_plan_is_json_that_people_read() -> None:
    text = PLANNED.to_bytes().decode()
    data = json.loads(text)
    assert text == json.dumps(data, indent=1) + "\n"
    assert data["schema"] == 1 and data["grafts"][0]["stages"][0]["geometry"]["strides"] == [2, 1]


def test_the_bounds_of_a_clamp_are_those_that_are_there() -> None:
    stage = STAGES[0]
    assert STAGES[1].bounds is None
    assert stage.bounds == (0.0, np.inf)
    assert dataclasses.replace(stage, low=None, high=6.0).bounds == (-np.inf, 6.0)
    assert dataclasses.replace(stage, low=-1.0, high=1.0).bounds == (-1.0, 1.0)


def damaged(**changes: Any) -> bytes:
    return json.dumps(json.loads(PLANNED.to_bytes()) | changes).encode()


@pytest.mark.parametrize(
    ("bundle", "problem"),
    [
        (Bundle.create(manifest(), CONTENTS), "home is no refit bundle"),
        (Bundle.create(manifest(), {**CONTENTS, PLAN: PLANNED.to_bytes()}), "home is no refit bundle"),
        (Bundle.create(manifest(), {**CONTENTS, ARRAYS: npz_bytes(PLACES)}), "home is no refit bundle"),
        (refit_bundle(damaged(schema=2)), "home has a plan of schema 2"),
        (refit_bundle(b"{}"), "home has a plan of schema None"),
        (refit_bundle(damaged(grafts=3)), "the plan of home is damaged (plan.grafts has to be a list)"),
        (
            refit_bundle(b'{"schema": 1, "sources": {}}'),
            "the plan of home is damaged ('plan.grafts is missing')",
        ),
        (refit_bundle(b"[]"), "home has a plan of schema None"),
        (
            refit_bundle(b"{"),
            "the plan of home is damaged (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))",
        ),
        (refit_bundle(arrays=b"PK\x03\x04"), "the plan of home is damaged (File is not a zip file)"),
        (refit_bundle(arrays=b""), "the plan of home is damaged (File is not a zip file)"),
    ],
)
def test_another_bundle_is_refused(bundle: Bundle, problem: str) -> None:
    with pytest.raises(BundleError) as caught:
        RefitPlan.of(bundle)
    assert str(caught.value) == f"{problem}; make one with multigraft calibrate plan."


SOLVED = Refit(
    (
        SolvedGraft(
            "digit", "garment", "garment/r1", "digit/r1", "refit", "relative",
            (SolvedLayer("digit/c1", 0.01, 0.125, 4000), SolvedLayer("digit/fc", 1.0, 0.5, 100)), 64, 0.75,
            {"value": 0.9},
        ),
        SolvedGraft("place", "garment", "garment/r1", "place/r1", "adapter1", "independent", (), 32),
    ),
    {"digit": "ab" * 32},
    32,
    {"digit/c1/1": np.array([[1.5, -2]], np.float32), "digit/c1/2": np.array([0.25], np.float32)},
)  # fmt: skip


@pytest.mark.parametrize("donor", ["digit", "place"])
def test_a_graft_on_itself_or_on_another_graft_is_refused(donor: str, tmp_path: Path) -> None:
    damage = rf"task digit stands on {donor}, which does not stand there as it came"
    planned = [dataclasses.replace(GRAFT, donor=donor), dataclasses.replace(GRAFT, target="place")]
    with pytest.raises(BundleError, match=rf"the plan of home is damaged \({damage}\)"):
        RefitPlan.of(refit_bundle(RefitPlan(tuple(planned), {}).to_bytes()))
    solved = dataclasses.replace(SOLVED.grafts[0], donor=donor), SOLVED.grafts[1]
    path = dataclasses.replace(SOLVED, grafts=solved).write(tmp_path / "a.mgrefit")
    with pytest.raises(InputError, match=rf"no whole refit file \({damage}\)"):
        Refit.open(path)


def test_a_refit_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = SOLVED.write(tmp_path / "a.mgrefit")
    assert path == tmp_path / "a.mgrefit"
    back = Refit.open(path)
    assert (back.grafts, back.sources, back.minimum_frames) == (SOLVED.grafts, SOLVED.sources, 32)
    assert back.weights.keys() == SOLVED.weights.keys()
    for name, array in SOLVED.weights.items():
        assert back.weights[name].dtype == np.float32
        np.testing.assert_array_equal(back.weights[name], array)


def test_equal_refits_give_equal_bytes_that_say_what_they_hold(tmp_path: Path) -> None:
    other = dataclasses.replace(SOLVED, weights=dict(reversed(list(SOLVED.weights.items()))))
    data = SOLVED.write(tmp_path / "a.mgrefit").read_bytes()
    assert other.write(tmp_path / "b.mgrefit").read_bytes() == data
    text = read_npz(data)["manifest"].tobytes()
    facts = json.loads(text)
    assert text.decode() == json.dumps(facts, sort_keys=True)
    assert set(facts) == {"schema", "content", "grafts", "sources", "minimum_frames"}
    assert facts["content"] == (
        "Weights of layers, solved from sums over at least minimum_frames frames. No frame is in it."
    )


def with_facts(facts: bytes) -> bytes:
    return npz_bytes({"manifest": np.frombuffer(facts, np.uint8)})


WHOLE = {"schema": 1, "grafts": [], "sources": {}, "minimum_frames": 2}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"text", "File is not a zip file"),
        (npz_bytes({"a": np.zeros(3)}), "'manifest'"),
        (with_facts(b"{"), "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (with_facts(b"{}"), "'schema'"),
        (with_facts(b"[]"), "list indices must be integers or slices, not str"),
        (with_facts(json.dumps(WHOLE | {"grafts": {}}).encode()), "grafts has to be a list"),
        (with_facts(json.dumps(WHOLE | {"grafts": [{}]}).encode()), "'grafts[0].target is missing'"),
        (with_facts(json.dumps(WHOLE | {"sources": {"a": 3}}).encode()), "sources.a has to be str, not int"),
        (
            with_facts(json.dumps({k: v for k, v in WHOLE.items() if k != "minimum_frames"}).encode()),
            "'minimum_frames'",
        ),
    ],
)
def test_another_file_is_refused(data: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mgrefit"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        Refit.open(path)
    again = "give a .mgrefit file that multigraft calibrate refit wrote"
    assert str(caught.value) == f"{path} is no whole refit file ({problem}); {again}."


@pytest.mark.parametrize("wrong", [np.array([np.nan], "f4"), np.array([1j]), np.array([1]), np.array(["a"])], ids=str)
def test_weights_that_are_no_numbers_are_refused(wrong: npt.NDArray[Any], tmp_path: Path) -> None:
    path = dataclasses.replace(SOLVED, weights={**SOLVED.weights, "digit/c1/2": wrong}).write(tmp_path / "a.mgrefit")
    with pytest.raises(InputError, match="digit/c1/2 is no array of float32 numbers"):
        Refit.open(path)


def test_a_newer_file_and_one_that_is_not_there_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mgrefit"
    path.write_bytes(with_facts(json.dumps(WHOLE | {"schema": 2}).encode()))
    missing = tmp_path / "b.mgrefit"
    for place, sentence in (
        (path, f"{path} has schema 2; use the version that wrote it."),
        (missing, f"{missing} does not exist; check the path."),
    ):
        with pytest.raises(InputError) as caught:
            Refit.open(place)
        assert str(caught.value) == sentence
    path.write_bytes(with_facts(json.dumps(WHOLE).encode()))
    assert Refit.open(path).grafts == ()
