"""Which family published networks are taken for, and that no network's outputs stop a decoder."""

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import Any

import numpy as np
import pytest

from multigraft.answers.decoding.levels import cells_of, grid_of
from multigraft.answers.families.table import FAMILIES, decoder_of, fitting, recognised
from multigraft.answers.family import Evidence, Shape
from multigraft.answers.placement import Placement
from multigraft.errors import ConfigurationError
from tests.core.answers.families.hostile_formats import ruined
from tests.core.answers.families.scenes import evidence

P3_5, P3_6 = (8, 16, 32), (8, 16, 32, 64)


def maps(side: int, strides: tuple[int, ...], *channels: int) -> list[Shape]:
    return [(c, *grid_of((side, side), s)) for s in strides for c in channels]


def shapes_of(family: str, side: int, classes: int) -> list[Shape]:
    """Outputs of the published networks of a family."""
    cells, cells_p6 = cells_of((side, side), P3_5), cells_of((side, side), P3_6)
    prototypes = (32, side // 4, side // 4)
    match family:
        case "yolov8":
            return [(4 + classes, cells)]
        case "yolov8-raw":
            return maps(side, P3_5, 64 + classes)
        case "yolov8-pose":
            return [(4 + classes + 51, cells)]
        case "yolov8-obb":
            return [(4 + classes + 1, cells)]
        case "yolov8-seg":
            return [(4 + classes + 32, cells), prototypes]
        case "yolov10":
            return [(300, 6)]
        case "yolo26-pose":
            return [(300, 57)]
        case "yolo26-obb" | "yolov7-end2end":
            return [(300, 7)]
        case "yolo26-seg":
            return [(300, 38), prototypes]
        case "yolov5":
            return [(3 * cells, 5 + classes)]
        case "yolov5-seg":
            return [(3 * cells, 5 + classes + 32), prototypes]
        case "yolov5-raw" | "yolov7-raw" | "yolov3-raw" | "yolov4-raw":
            return maps(side, P3_5, 3 * (5 + classes))
        case "yolox" | "yolox-decoded":
            return [(cells, 5 + classes)]
        case "nanodet":
            return [(cells_p6, classes + 32)]
        case "centernet":
            return [(classes, side // 4, side // 4), (2, side // 4, side // 4), (2, side // 4, side // 4)]
        case "plain":
            return [(100, 4), (100,), (100,)]
    raise AssertionError(f"no shapes of {family} are known to this test")


NAMES = {"centernet": ("hm", "wh", "reg"), "plain": ("boxes", "scores", "classes")}
OURS = (
    *("yolov8", "yolov8-raw", "yolov8-pose", "yolov8-obb", "yolov8-seg"),
    *("yolov10", "yolo26-pose", "yolo26-obb", "yolo26-seg"),
    *("yolov5", "yolov5-raw", "yolov5-seg", "yolov7-raw", "yolov7-end2end", "yolov3-raw", "yolov4-raw"),
    *("yolox", "yolox-decoded", "nanodet", "centernet", "plain"),
)
ANCHORED = {"yolov5-raw", "yolov7-raw", "yolov3-raw", "yolov4-raw"}
JOINED = {"yolox", "yolox-decoded"}
SEVEN = {"yolo26-obb", "yolov7-end2end"}
TASKS = {"yolov8-pose": "pose", "yolov8-obb": "obb", "yolov8-seg": "segment", "yolo26-pose": "pose"}
TASKS |= {"yolo26-obb": "obb", "yolo26-seg": "segment", "yolov8": "detect", "yolov10": "detect", "yolov5": "detect"}


def typical(family: str, side: int, classes: int, labels: bool, **metadata: str) -> Evidence:
    return evidence(
        shapes_of(family, side, classes),
        (side, side),
        classes if labels else 0,
        NAMES.get(family, ()),
        metadata=metadata,
    )


def taken_for(family: str, given: Evidence) -> str | None:
    """The family, where labels are known; None where only the user can tell."""
    found = recognised(given)
    return None if found is None else found.family


@pytest.mark.parametrize("side", [320, 416, 640])
@pytest.mark.parametrize("classes", [1, 80])
@pytest.mark.parametrize("family", OURS)
def test_with_labels_a_network_is_taken_for_what_it_is_or_for_nothing(family: str, classes: int, side: int) -> None:
    found = taken_for(family, typical(family, side, classes, labels=True))
    if family in ANCHORED | JOINED | SEVEN | {"plain", "yolov8-obb"}:
        # Anchors are no part of the outputs; pixels and shares of cells look alike; an angle looks like a class.
        assert found is None or (family == "yolov8-obb" and found == "yolov8")
    else:
        assert found == family


@pytest.mark.parametrize("side", [320, 416, 640])
@pytest.mark.parametrize("classes", [1, 2, 15, 80])
@pytest.mark.parametrize("family", OURS)
def test_without_labels_a_network_is_never_taken_for_another(family: str, classes: int, side: int) -> None:
    given = typical(family, side, classes, labels=False)
    found = taken_for(family, given)
    readings = {answer.family for answer in fitting(given)}
    if family == "yolov8-obb" and classes != 15:
        # An angle cannot be told from one more class; published networks of 15 classes are known.
        assert found == "yolov8"
    elif family == "yolov8-pose" and classes != 1:
        assert found == "yolov8"
    else:
        assert found in (None, family)
    if family not in ("plain", "yolov8-obb", "yolov8-pose", *SEVEN):
        assert family in readings


@pytest.mark.parametrize("family", TASKS)
@pytest.mark.parametrize("classes", [1, 15, 80])
def test_the_words_of_the_file_decide(family: str, classes: int) -> None:
    names = str({i: f"class {i}" for i in range(classes)})
    given = typical(family, 640, classes, labels=False, task=TASKS[family], names=names, kpt_shape="[17, 3]")
    assert taken_for(family, given) == family


def test_people_s_poses_are_not_52_classes() -> None:
    assert recognised(evidence([(56, 2100)])) is None
    by_kind = recognised(evidence([(56, 2100)], kind="landmarks"))
    by_label = recognised(evidence([(56, 2100)], labels=1))
    assert by_kind is not None
    assert by_label is not None
    assert (by_kind.family, by_kind.keypoints) == ("yolov8-pose", 17)
    assert (by_label.family, by_label.keypoints) == ("yolov8-pose", 17)


def test_the_last_of_two_readings_is_left_by_labels() -> None:
    # 144 = 64 + 80 = 3 x (5 + 43) = 5 + 139 = 32 + 112.
    heads = maps(320, P3_5, 144)
    assert {answer.family for answer in fitting(evidence(heads))} >= {"yolov8-raw", "yolov5-raw", "yolox", "nanodet"}
    for labels, family in ((80, "yolov8-raw"), (139, "yolox"), (112, "nanodet")):
        found = recognised(evidence(heads, labels=labels))
        assert found is not None
        assert found.family == family


def test_labels_of_a_wrong_number_are_told_and_not_hidden() -> None:
    given = evidence([(84, 2100)], labels=79)
    answer = recognised(given)
    assert answer is not None
    with pytest.raises(ConfigurationError, match=r"79 labels, and output 0 holds 80 classes"):
        decoder_of(answer, given.labels)


def test_a_hostile_file_s_words_are_only_words() -> None:
    deep = "[" * 50_000
    for names in (deep, "{" * 9, "__import__('os')", "1" * 200_000, "{0: 'a'", "[]"):
        found = recognised(evidence([(84, 2100)], metadata={"names": names, "kpt_shape": names}))
        assert found is not None


@pytest.mark.parametrize("family", OURS)
def test_every_family_of_this_table_is_known(family: str) -> None:
    assert family in FAMILIES
    assert FAMILIES[family].name == family


@pytest.mark.parametrize("family", OURS)
def test_a_hostile_format_is_refused_or_decodes(family: str) -> None:
    random = np.random.default_rng(1)
    given = typical(family, 64, 3, labels=True)
    answer = recognised(given, family)
    assert answer is not None
    outputs = [random.normal(0, 2, shape).astype(np.float32) for shape in given.shapes]
    refused = 0
    for _ in range(150):
        try:
            # Bundles are refused, too, whose outputs are not of the shapes that the format tells.
            decode = decoder_of(dataclasses.replace(ruined(random, answer), shapes=answer.shapes), ())
            decoder_of(ruined(random, answer), ())
        except ConfigurationError:
            refused += 1
            continue
        json.dumps(decode(outputs).to_json(), allow_nan=False)
    assert refused


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, 1.0, "normal", "large"])
@pytest.mark.parametrize("family", OURS)
def test_no_output_stops_a_decoder(family: str, value: Any) -> None:
    random = np.random.default_rng(0)
    given = typical(family, 160, 3, labels=True)
    answer = recognised(given, family)
    assert answer is not None
    decode = decoder_of(dataclasses.replace(answer, most=20), ())
    if isinstance(value, str):
        outputs = [random.normal(0, 1 if value == "normal" else 1e4, s).astype(np.float32) for s in given.shapes]
    else:
        outputs = [np.full(shape, value, np.float32) for shape in given.shapes]
    for output in outputs:
        output.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode(outputs).placed(Placement.of_regions((480, 640), None, None, (160, 160)))
    told = found.to_json()
    json.dumps(told, allow_nan=False)
    assert len(told["detections"]) <= 20
    if value is np.nan or value == -np.inf:
        assert told["detections"] == []
