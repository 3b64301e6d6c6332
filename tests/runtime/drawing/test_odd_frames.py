"""Answers on frames of one row or one pixel, grey and with a channel axis, under names of any script: every way out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.families.table import decoder_of, recognised
from multigraft.answers.family import Evidence, Shape
from multigraft.answers.matching import frame_score
from multigraft.answers.placement import Placement
from multigraft.errors import InputError
from multigraft.runtime.drawing.draw import draw
from multigraft.runtime.formats.coco import coco_records
from multigraft.runtime.formats.table_rows import table_rows

SIDE = 64
TASK = "門\u202e\n é"
HEADS: dict[str, tuple[Shape, ...]] = {
    "yolov8": ((6, 84),),
    "yolov8-pose": ((56, 84),),
    "yolov8-obb": ((7, 84),),
    "yolov8-seg": ((38, 84), (32, 16, 16)),
    "db-text": ((1, SIDE, SIDE),),
    "class-map": ((3, 2, 2),),
    "dense-map": ((1, 16, 16),),
    "heat-maps": ((4, 1, 16),),
    "multi-label": ((5,),),
    "embedding": ((8,),),
}


def format_of(family: str) -> AnswerFormat:
    shapes = HEADS[family]
    answer = recognised(Evidence(shapes, tuple(f"o{i}" for i in range(len(shapes))), (SIDE, SIDE), "other"), family)
    assert answer is not None
    return answer


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1, 3), (7, 5, 1), (40, 30, 3)])
@pytest.mark.parametrize("family", HEADS)
def test_every_answer_goes_every_way_out_of_every_frame(family: str, shape: tuple[int, ...]) -> None:
    answer = format_of(family)
    random = np.random.default_rng(0)
    for broken in (False, True):
        outputs = [random.normal(0.6, 0.5, size=s).astype(np.float32) * 20 for s in answer.shapes]
        if broken:
            for output in outputs:
                output.reshape(-1)[::3] = np.nan
                output.reshape(-1)[1::5] = np.inf
        found = decoder_of(answer, ())(outputs).placed(Placement.of_regions(shape, None, None, (SIDE, SIDE)))
        frame = np.zeros(shape, np.uint8)
        picture = draw(frame, {TASK: found})
        assert picture.width >= shape[1] and picture.height >= shape[0] and not frame.any()
        json.dumps(found.to_json(), allow_nan=False)
        json.dumps(list(table_rows({TASK: found})), allow_nan=False)
        json.dumps(
            list(coco_records(1, {TASK: found}, shape[0], shape[1], lambda task, number: number)), allow_nan=False
        )
        score = frame_score(found, found)
        assert score is not None and 0 <= score <= 1


@pytest.mark.parametrize("shape", [(8, 8, 4), (8, 8, 2), (0, 8), (8,), (1, 8, 8, 3)])
def test_what_is_no_grey_and_no_rgb_picture_is_one_sentence(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="a frame to draw on is uint8 of shape"):
        draw(np.zeros(shape, np.uint8), {})
