"""Early exits in the manifest."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from multigraft.bundle.manifest import EXIT_SCHEMA, GATE_SCHEMA, Manifest
from multigraft.errors import BundleError
from tests.exit_bundle import EXIT, LOGITS, build, policy


def plain() -> dict[str, Any]:
    return build(policy(0.9)).manifest.to_json()


def changed(**exit_: Any) -> dict[str, Any]:
    data = plain()
    data["tasks"][0]["exits"][0] |= exit_
    return data


def test_it_is_read_as_it_was_written() -> None:
    manifest = build(policy(0.9)).manifest
    data = manifest.to_json()
    assert data["schema"] == EXIT_SCHEMA == 6
    assert dataclasses.replace(Manifest.from_json(data), schema=1) == manifest
    assert manifest.task("garment").all_segments == ("trunk", "head_garment", EXIT)


def test_a_gate_is_no_exit_to_older_readers() -> None:
    manifest = build(policy(0.9, rule="change")).manifest
    data = manifest.to_json()
    assert data["schema"] == GATE_SCHEMA == 7
    assert dataclasses.replace(Manifest.from_json(data), schema=1) == manifest


def test_a_gate_stands_alone_and_looks_at_whole_frames() -> None:
    data = build(policy(0.9, rule="change")).manifest.to_json()
    boxes = {"task": "digit", "margin": 0.0, "top": 4, "labels": [], "level": [], "deadline_us": None}
    with pytest.raises(BundleError, match="has a gate, and more exits or boxes to look at"):
        Manifest.from_json({**data, "tasks": [data["tasks"][0] | {"on": boxes}, data["tasks"][1]]})
    twice = [*data["tasks"][0]["exits"], *data["tasks"][0]["exits"]]
    with pytest.raises(BundleError, match="has a gate, and more exits"):
        Manifest.from_json({**data, "tasks": [data["tasks"][0] | {"exits": twice}, data["tasks"][1]]})


def test_without_exits_older_readers_go_on_reading() -> None:
    manifest = build(policy(0.9)).manifest
    without = dataclasses.replace(manifest, tasks=tuple(dataclasses.replace(t, exits=()) for t in manifest.tasks))
    data = without.to_json()
    assert data["schema"] == 1
    assert all("exits" not in task for task in data["tasks"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"threshold": math.nan}, "threshold"),
        ({"rule": "luck"}, "rule"),
        ({"audited": 1.5}, "audits"),
        ({"segment": "head_garment"}, "none of an exit"),
        ({"segment": "nowhere"}, "none of an exit"),
        ({"output": "image"}, "does not write"),
    ],
)
def test_what_contradicts_itself_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Manifest.from_json(changed(**change))


@pytest.mark.parametrize(
    "promise", [{"max_disagreement": 0.0}, {"confidence": 1.0}, {"disagreed": 500}, {"taken": 2000}, {"taken": -1}]
)
def test_a_promise_that_cannot_be_is_refused(promise: dict[str, Any]) -> None:
    data = plain()
    data["tasks"][0]["exits"][0]["promise"] |= promise
    with pytest.raises(BundleError, match="exit_garment"):
        Manifest.from_json(data)


def test_an_exit_of_a_task_that_is_no_classification_is_refused() -> None:
    data = plain()
    data["tasks"][0]["kind"] = "regression"
    with pytest.raises(BundleError, match="only a classification"):
        Manifest.from_json(data)


def test_an_exit_behind_what_its_task_does_not_run_is_refused() -> None:
    data = plain()
    data["tasks"][0]["segments"] = ["head_garment"]
    with pytest.raises(BundleError, match="does not make"):
        Manifest.from_json(data)


@pytest.mark.parametrize("segment", ["head_digit", EXIT])
def test_an_exit_that_another_task_needs_is_refused(segment: str) -> None:
    data = plain()
    other = next(t for t in data["tasks"] if t["name"] == "digit")
    if segment == EXIT:
        other["exits"] = data["tasks"][0]["exits"]
    else:
        data["tasks"][0]["exits"][0] |= {"segment": segment, "output": "digit/out"}
    with pytest.raises(BundleError, match="none of an exit"):
        Manifest.from_json(data)


def test_two_exits_by_one_segment_are_refused() -> None:
    data = plain()
    data["tasks"][0]["exits"] *= 2
    with pytest.raises(BundleError, match="out of order"):
        Manifest.from_json(data)


def test_classes_have_to_fit() -> None:
    data = plain()
    next(t for t in data["tensors"] if t["name"] == LOGITS)["shape"] = [1, 9]
    with pytest.raises(BundleError, match="9 classes"):
        Manifest.from_json(data)
