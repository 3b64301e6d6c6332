"""The manifest reads back as it was written, and one that contradicts itself is refused with the place named."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from multigraft.answers.kind import KINDS
from multigraft.bundle.manifest import PAD_SCHEMA, PARTED_SCHEMA, READABLE, SCHEMA, Manifest
from multigraft.errors import BundleError
from multigraft.tensors.joining import Concatenate, Joined, Part, Reshape, Transpose
from multigraft.tensors.preprocessing import Preprocessing
from tests.core.bundle.samples import bundle, manifest


def plain() -> dict[str, Any]:
    return bundle().manifest.to_json()


def refused(data: Any, where: str = "a.graft: manifest.json") -> str:
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(data, where)
    return str(caught.value)


def test_it_survives_json() -> None:
    made = bundle().manifest
    again = Manifest.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made
    assert isinstance(again.tasks, tuple) and isinstance(again.tensors[0].shape, tuple)
    assert SCHEMA == 1 and made.to_json()["schema"] == 1
    assert KINDS == ("classification", "regression", "landmarks", "segmentation", "detection", "other")


def test_fields_of_a_newer_writer_are_ignored() -> None:
    data = plain() | {"new": 1}
    data["tasks"][0]["new"] = {"x": 2}
    assert Manifest.from_json(data) == bundle().manifest


def test_parts_are_found_by_name() -> None:
    made = manifest()
    assert made.task("place") is made.tasks[1]
    assert made.segment("head_garment") is made.segments[1]
    assert made.tensor("logits") is made.tensors[2]
    with pytest.raises(BundleError) as caught:
        made.task("colour")
    assert str(caught.value) == "bundle 'home' has no task 'colour'; choose from: garment, place."


@pytest.mark.parametrize("data", [None, [], "text", {}, {"schema": "1"}, {"schema": None}])
def test_what_is_no_manifest_is_refused(data: Any) -> None:
    assert refused(data) == "a.graft: manifest.json is not a multigraft manifest; build the bundle again."


def test_another_schema_names_both() -> None:
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(plain() | {"schema": READABLE[-1] + 1})
    assert str(caught.value) == (
        f"manifest.json has schema {READABLE[-1] + 1} and this multigraft reads schema {READABLE[-1]}; "
        "use the multigraft version that built it, or build it again."
    )
    assert "schema 0 and" in refused(plain() | {"schema": 0})


@pytest.mark.parametrize(
    ("place", "value", "damage"),
    [
        (("name",), 3, "manifest.name has to be str, not int"),
        (("tasks", 0, "kind"), "colour", f"manifest.tasks[0].kind is 'colour' and has to be one of {', '.join(KINDS)}"),
        (("segments", 0, "inputs", "in"), "hall", "segment trunk reads ['hall'] before anything wrote it"),
        (("segments", 1, "inputs", "in"), "xy", "segment head_garment reads ['xy'] before anything wrote it"),
        (("segments", 2, "outputs", "out"), "zz", "tensors ['zz'] are not described"),
        (("inputs", 0, "tensor"), "frame", "segment trunk reads ['image'] before anything wrote it"),
        (("tensors", 0, "name"), "frame", "tensors ['image'] are not described"),
        (("tasks", 1, "outputs"), ["xy", "far", "b"], "task place answers with ['b', 'far'], which nothing writes"),
        (("tasks", 1, "segments"), ["trunk", "x", "a"], "task place needs segments ['a', 'x'], which are not there"),
    ],
)
def test_damage_is_named_by_its_place(place: tuple[Any, ...], value: Any, damage: str) -> None:
    data = plain()
    part = data
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    assert refused(data) == f"a.graft: manifest.json is damaged ({damage}); build the bundle again."


@pytest.mark.parametrize(
    ("place", "changes", "damage"),
    [
        ("place", {"donor": "colour"}, "task place stands on colour, which is not there"),
        ("place", {"branch": "colour"}, "task place stands on colour, which is not there"),
        ("place", {"donor": "place"}, "task place stands on itself in the end (place on place)"),
        ("place", {"branch": "place"}, "task place stands on itself in the end (place on place)"),
        ("garment", {"donor": "place"}, "task garment stands on itself in the end (garment on place on garment)"),
        ("garment", {"branch": "place"}, "task garment stands on itself in the end (garment on place on garment)"),
        ("place", {"donor": None, "branch": "garment"}, "stands on garment, on the trunk of garment and not of None"),
        ("worn", {"branch": "garment", "donor": "place"}, "on garment, on the trunk of garment and not of place"),
        ("worn", {"donor": "place"}, "task worn stands on place, on the trunk of garment and not of place"),
        ("worn", {"donor": "apart"}, "task worn stands on apart, which looks at other frames"),
        ("worn", {"on": {"task": "apart"}}, "task worn stands on place, which looks at other frames"),
    ],
)
def test_a_trunk_or_branch_that_leads_nowhere_is_refused(place: str, changes: dict[str, Any], damage: str) -> None:
    data = plain()
    tasks = {task["name"]: task for task in data["tasks"]}
    tasks["worn"] = {**tasks["place"], "name": "worn", "branch": "place"}
    tasks["apart"] = {**tasks["garment"], "name": "apart", "segments": ["apart"], "outputs": ["sum"]}
    data["tasks"] = list(tasks.values())
    data["segments"].append({**data["segments"][1], "name": "apart", "inputs": {"in": "crop"}, "outputs": {"o": "sum"}})
    data["inputs"].append({**data["inputs"][0], "tensor": "crop"})
    data["tensors"] += [{**data["tensors"][0], "name": "crop"}, {**data["tensors"][2], "name": "sum"}]
    assert Manifest.from_json(data).task("worn").branch == "place"
    if "branch" in tasks[place] and "donor" in changes:
        del tasks[place]["branch"]
    tasks[place].update(changes)
    assert damage in refused(data)


def test_a_missing_field_is_named() -> None:
    data = plain()
    del data["segments"][1]["precision"]
    assert refused(data) == (
        "a.graft: manifest.json is damaged ('manifest.segments[1].precision is missing'); build the bundle again."
    )


STEPS = (Part("xy"), Transpose((0, 1)), Part("logits"), Reshape((1, 2)), Concatenate(1, 2))


def test_a_pixel_to_pad_with_survives_json_under_a_schema_that_older_readers_refuse() -> None:
    made = bundle().manifest
    assert all("pad" not in source["preprocessing"] for source in made.to_json()["inputs"])
    (first, *others) = made.inputs
    assert isinstance(first.preprocessing, Preprocessing)
    seen = dataclasses.replace(first.preprocessing, resize="fit", pad=114)
    padded = dataclasses.replace(made, inputs=(dataclasses.replace(first, preprocessing=seen), *others))
    data = json.loads(json.dumps(padded.to_json()))
    assert data["schema"] == PAD_SCHEMA == 4
    assert Manifest.from_json(data).inputs == padded.inputs
    data["inputs"][0]["preprocessing"]["pad"] = 256
    with pytest.raises(BundleError, match="pad is 256"):
        Manifest.from_json(data)


def parted() -> Manifest:
    """The task ``place`` answers with one output, which is joined of two tensors."""
    made = bundle().manifest
    place = dataclasses.replace(made.tasks[1], joined=(Joined("answer", STEPS),))
    return dataclasses.replace(made, tasks=(made.tasks[0], place))


def test_a_parted_output_survives_json_under_a_schema_that_older_readers_refuse() -> None:
    data = json.loads(json.dumps(parted().to_json()))
    assert data["schema"] == PARTED_SCHEMA == 3
    assert Manifest.from_json(data).tasks == parted().tasks
    assert "joined" in data["tasks"][1] and "joined" not in data["tasks"][0]


def test_nothing_is_written_where_nothing_is_parted() -> None:
    assert plain()["schema"] == 1 and not any("joined" in task for task in plain()["tasks"])


def steps_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = data["tasks"][1]["joined"][0]["steps"]
    return steps


@pytest.mark.parametrize(
    ("place", "step", "damage"),
    [
        (4, {"kind": "concatenate", "axis": 2, "count": 2}, "step 4 of joining answer does not fit what is to be"),
        (4, {"kind": "concatenate", "axis": 1, "count": 3}, "step 4 of joining answer does not fit what is to be"),
        (4, {"kind": "transpose", "order": [0, 1]}, "the steps of joining answer do not end in one output"),
        (0, {"kind": "part", "tensor": "features"}, "step 0 of joining answer does not fit what is to be joined"),
        (0, {"kind": "part", "tensor": "logits"}, "task place does not join what it answers with"),
        (3, {"kind": "reshape", "shape": [3]}, "step 3 of joining answer does not fit what is to be joined"),
        (3, {"kind": "reshape", "shape": "2"}, "manifest.tasks[1].joined[0].steps[3].shape has to be a list"),
        (3, {"kind": "reshape"}, "manifest.tasks[1].joined[0].steps[3].shape is missing"),
        (0, {"kind": "call", "tensor": "xy"}, "manifest.tasks[1].joined[0].steps[0].kind is 'call' and has to be one"),
        (0, [], "manifest.tasks[1].joined[0].steps[0] has to be an object"),
    ],
)
def test_steps_that_do_not_fit_are_one_sentence(place: int, step: Any, damage: str) -> None:
    data = parted().to_json()
    steps_of(data)[place] = step
    assert damage in refused(data) and refused(data).endswith("; build the bundle again.")
    assert "\n" not in refused(data)


def test_a_classification_is_never_parted() -> None:
    data = parted().to_json()
    data["tasks"][1]["kind"] = "classification"
    assert "task place is a classification, whose outputs are never parted" in refused(data)
