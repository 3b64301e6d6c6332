"""The manifest reads back as it was written, and one that contradicts itself is refused with the place named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from multigraft.answers.kind import KINDS
from multigraft.bundle.manifest import SCHEMA, Manifest
from multigraft.errors import BundleError
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
        Manifest.from_json(plain() | {"schema": 3})
    assert str(caught.value) == (
        "manifest.json has schema 3 and this multigraft reads schema 2; "
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


def test_a_missing_field_is_named() -> None:
    data = plain()
    del data["segments"][1]["precision"]
    assert refused(data) == (
        "a.graft: manifest.json is damaged ('manifest.segments[1].precision is missing'); build the bundle again."
    )
