"""No format that a stranger writes, and no output, stops a decoder."""

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import Any

import numpy as np
import pytest

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.families.table import decoder_of, recognised
from multigraft.answers.family import Evidence, Shape
from multigraft.answers.placement import Placement
from multigraft.errors import ConfigurationError
from tests.core.answers.families.hostile_formats import ruined

ALPHABET = tuple("abcdefghijklmnopqrstuvwxyz")
POSTPROCESSED: tuple[Shape, ...] = ((10, 4), (10,), (10,), ())
KINDS: dict[str, tuple[int, tuple[Shape, ...]]] = {
    "tflite-detection": (160, POSTPROCESSED),
    "ssd": (320, ((3234, 4), (3234, 3))),
    "ssd-tf": (300, ((1917, 4), (1917, 3))),
    "ssd-decoded": (300, ((3000, 3), (3000, 4))),
    "mediapipe": (128, ((896, 16), (896, 1))),
    "scrfd": (160, tuple((n, k) for k in (1, 4, 10) for n in (800, 200, 50))),
    "retinaface": (160, ((1050, 4), (1050, 2), (1050, 10))),
    "yunet": (160, tuple((n, k) for k in (1, 1, 4, 10) for n in (400, 100, 25))),
    "movenet": (192, ((6, 56),)),
    "heat-maps": (192, ((17, 48, 48),)),
    "simcc": (96, ((17, 192), (17, 192))),
    "points": (96, ((136,),)),
    "class-map": (64, ((3, 32, 32),)),
    "dense-map": (64, ((1, 32, 32),)),
    "multi-label": (64, ((20,),)),
    "embedding": (64, ((128,),)),
    "ctc": (64, ((40, 27),)),
    "db-text": (64, ((1, 64, 64),)),
}
FOUND = ("detections", "labels")


def typical(family: str) -> AnswerFormat:
    side, shapes = KINDS[family]
    answer = recognised(Evidence(shapes, ("",) * len(shapes), (side, side), "other"), family)
    assert answer is not None
    return answer


def labels_of(family: str) -> tuple[str, ...]:
    return ALPHABET if family == "ctc" else ()


@pytest.mark.parametrize("family", sorted(KINDS))
def test_a_hostile_format_is_refused_or_decodes(family: str) -> None:
    random = np.random.default_rng(1)
    answer = typical(family)
    outputs = [np.asarray(random.normal(0, 2, shape), np.float32) for shape in answer.shapes]
    refused = 0
    for _ in range(120):
        try:
            decode = decoder_of(dataclasses.replace(ruined(random, answer), shapes=answer.shapes), labels_of(family))
            decoder_of(ruined(random, answer), labels_of(family))
        except ConfigurationError:
            refused += 1
            continue
        json.dumps(decode(outputs).to_json(), allow_nan=False)
    assert refused


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, 1.0, "normal", "large"])
@pytest.mark.parametrize("family", sorted(KINDS))
def test_no_output_stops_a_decoder(family: str, value: Any) -> None:
    random = np.random.default_rng(0)
    answer = typical(family)
    decode = decoder_of(dataclasses.replace(answer, most=20), labels_of(family))
    scale = {"normal": 1, "large": 1e4}.get(str(value))
    outputs = [
        np.asarray(random.normal(0, scale, s) if scale else np.full(s, value), np.float32) for s in answer.shapes
    ]
    for output in outputs:
        output.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode(outputs).placed(Placement.of_regions((48, 64), None, None, (answer.size[0], answer.size[1])))
    told = found.to_json()
    json.dumps(told, allow_nan=False)
    for name in FOUND:
        assert len(told.get(name, ())) <= 20
        # Plain points have no confidence, so there is always a thing.
        assert not (value is np.nan and told.get(name)) or family == "points"
