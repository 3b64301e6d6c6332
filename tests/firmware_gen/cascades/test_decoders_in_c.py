"""Decoders in C beside multigraft's own: on random outputs of every family, with ties wherever 8 bits make them.

The C is compiled with fused multiplications allowed and again under sanitizers: both have to give the bits of numpy.
"""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.box_rows import NUMBERS
from multigraft.answers.detections import Detections
from multigraft.answers.families.table import FAMILIES, decoder_of
from multigraft.answers.family import Evidence, channels_first
from multigraft.bundle.manifest import Task
from multigraft.errors import ConfigurationError
from multigraft.firmware_gen.cascades.candidates import READERS
from multigraft.firmware_gen.cascades.finder import Finder, finder_of
from multigraft.firmware_gen.kernels.c_text import array
from multigraft.firmware_gen.project.emission import library
from multigraft.tensors.arrays import Array
from multigraft.tensors.joining import Concatenate, Joined, Part, Step, Transpose, joined_outputs
from multigraft.tensors.specs import TensorSpec
from tests.firmware_gen.host import SANITIZERS, WARNINGS, gcc

SIZE = (64, 96)
CASES = 40
MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "mg_boxes.h"
%(constants)s
%(finders)s
static const struct {
    const mg_finder *finder;
    const uint32_t *constants;
    int32_t bytes, count, starts[8];
} all[] = {%(rows)s};
static const mg_view view = {%(height)d, %(width)d, 3, %(height)d, %(width)d, 3, MG_STRETCH, 0, 0, {0}, 0.0};
int main(void)
{
    int32_t head[2];
    while (fread(head, sizeof head, 1, stdin) == 1) {
        const mg_finder *const f = all[head[0]].finder;
        int8_t *const tensors = malloc((size_t)all[head[0]].bytes), *const boxes = malloc((size_t)f->most * 28);
        void *const scratch = malloc(sizeof(mg_candidate) * (size_t)f->capacity);
        const int8_t *data[8];
        for (int32_t n = 0; n < all[head[0]].count; n++)
            data[n] = tensors + all[head[0]].starts[n];
        for (int32_t n = 0; n < head[1]; n++) {
            mg_part part;
            int8_t counts[4] = {0};
            if (fread(tensors, 1, (size_t)all[head[0]].bytes, stdin) != (size_t)all[head[0]].bytes)
                return 1;
            memset(boxes, 0, (size_t)f->most * 28);
            mg_part_of(&view, NULL, NULL, 0, &part);
            mg_find(f, data, all[head[0]].constants, &view, &part, -1, boxes, counts, scratch);
            fwrite(counts, 1, sizeof counts, stdout);
            fwrite(boxes, 1, (size_t)f->most * 28, stdout);
        }
        free(tensors), free(boxes), free(scratch);
    }
    return 0;
}
"""


def task_of(family: str, shapes: tuple[tuple[int, ...], ...], classes: int = 3, **changes: Any) -> Task:
    """A detector of a family whose outputs have these shapes, as its networks give them."""
    labels = tuple(f"class {n}" for n in range(classes))
    names = tuple(f"out{n}" for n in range(len(shapes)))
    found = FAMILIES[family].recognise(Evidence(shapes, names, SIZE, "detection", labels, named=True))
    assert isinstance(found, AnswerFormat), found
    return Task("thing", "detection", names, (), labels, answer=dataclasses.replace(found, **changes))


def level(stride: int) -> tuple[int, int]:
    return -(-SIZE[0] // stride), -(-SIZE[1] // stride)


def cells(*strides: int) -> int:
    return sum(int(np.prod(level(stride))) for stride in strides)


P3_TO_P5 = (8, 16, 32)
ALL = cells(*P3_TO_P5)
RAW = tuple((3 * 8, *level(stride)) for stride in P3_TO_P5)
BLAZE = 2 * cells(8) + 6 * cells(16)
SSD = 3 * cells(16) + 6 * sum(cells(16 << k) for k in range(1, 6))
PROBABILITY, LOGIT = (1 / 256, -128), (0.07, 60)
PIXELS, OFFSETS = (0.8, -100), (0.02, 10)
TASKS: dict[str, tuple[Task, tuple[tuple[float, int], ...]]] = {
    "yolov8": (task_of("yolov8", ((7, ALL),)), ((0.5, -127),)),
    "yolov8, cells first, shares": (task_of("yolov8", ((ALL, 7),), normalised=True), (PROBABILITY,)),
    "yolov8-pose": (task_of("yolov8-pose", ((4 + 1 + 3 * 17, ALL),), 1), ((0.5, -127),)),
    "yolov5": (task_of("yolov5", ((3 * ALL, 8),)), ((0.03, -120),)),
    "yolov5-raw": (task_of("yolov5-raw", RAW), ((0.05, 40), (0.06, 50), (0.05, 30))),
    "yolov5-raw after a sigmoid": (task_of("yolov5-raw", RAW), (PROBABILITY,) * 3),
    "yolov7-raw": (task_of("yolov7-raw", RAW, scores="logits"), ((0.05, 40), (0.06, 50), (0.05, 30))),
    "yolov3-raw": (task_of("yolov3-raw", RAW, iou_threshold=0.7), ((0.05, 40), (0.03, 90), (0.05, 30))),
    "yolov4-raw": (task_of("yolov4-raw", RAW), ((0.05, 40), (0.03, 90), (0.05, 30))),
    "yolox": (task_of("yolox", ((ALL, 8),)), ((0.04, 30),)),
    "yolox, levels": (task_of("yolox", tuple((8, *level(s)) for s in P3_TO_P5)), ((0.04, 30), LOGIT, (0.05, 0))),
    "yolox-decoded": (task_of("yolox-decoded", ((ALL, 8),)), ((0.03, -120),)),
    "centernet": (task_of("centernet", ((2, *level(4)),) * 3, 2), (PROBABILITY, PIXELS, OFFSETS)),
    "centernet, raw": (task_of("centernet", ((1, *level(8)), (2, *level(8))), 1, most=5), (LOGIT, PIXELS)),
    "plain": (task_of("plain", ((50, 4), (50,)), 0, roles={"boxes": 0, "scores": 1}), (PIXELS, PROBABILITY)),
    "plain, classes, y first": (
        task_of("plain", ((50, 4), (3, 50)), roles={"boxes": 0, "scores": 1}, boxes="y_first", normalised=True),
        (PROBABILITY, LOGIT),
    ),
    "plain, centres": (
        task_of("plain", ((4, 50), (50, 1)), 0, roles={"boxes": 0, "scores": 1}, boxes="centres"), (PIXELS, LOGIT),
    ),
    "plain, sizes": (
        task_of("plain", ((50, 4), (50, 3)), roles={"boxes": 0, "scores": 1}, boxes="sizes"), (PIXELS, PROBABILITY),
    ),
    "ssd-decoded": (
        task_of("ssd-decoded", ((80, 4), (80, 4)), roles={"boxes": 0, "scores": 1}, scores="probabilities"),
        (PROBABILITY, PROBABILITY),
    ),
    "ssd": (
        task_of("ssd", ((cells(8) * 2, 4), (cells(8) * 2, 4)), strides=(8,), anchors=((20.0, 30.0, 44.0, 25.0),)),
        ((0.06, 10), PROBABILITY),
    ),
    "ssd-tf, raw": (
        task_of("ssd-tf", ((SSD, 4), (SSD, 4)), scores="logits"), ((0.06, 10), LOGIT),
    ),
    "mediapipe": (task_of("mediapipe", ((BLAZE, 16), (BLAZE, 1)), 0), ((0.6, 20), (0.03, 10))),
    "mediapipe, no points": (task_of("mediapipe", ((BLAZE, 1), (BLAZE, 4)), 0), ((0.03, 10), (0.6, 20))),
    "retinaface": (
        task_of("retinaface", ((2 * ALL, 4), (2 * ALL, 2), (2 * ALL, 10)), 0),
        ((0.06, 10), PROBABILITY, PIXELS),
    ),
    "scrfd": (
        task_of("scrfd", tuple((cells(s) * 2, n) for n in (1, 4) for s in P3_TO_P5), 0),
        (PROBABILITY, PROBABILITY, PROBABILITY, OFFSETS, OFFSETS, OFFSETS),
    ),
}  # fmt: skip


def stored_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """As a bundle stores it: maps are channels last."""
    return (1, *shape[1:], shape[0]) if len(shape) == 3 else (1, *shape)


def specs_of(task: Task, scales: tuple[tuple[float, int], ...]) -> list[TensorSpec]:
    assert task.answer is not None
    return [
        TensorSpec(name, stored_shape(shape), "int8", float(np.float32(scale)), zero)
        for name, shape, (scale, zero) in zip(task.outputs, task.answer.shapes, scales, strict=True)
    ]


def compiled(parts: list[tuple[Finder, list[TensorSpec]]], folder: Path, *flags: str) -> Path:
    """A program with all of these finders."""
    rows = []
    for number, (finder, specs) in enumerate(parts):
        starts = np.cumsum([0, *(int(np.prod(spec.shape)) for spec in specs)])
        places = ", ".join(map(str, starts[:-1]))
        rows.append(f"{{&{finder.name}, constants_{number}, {starts[-1]}, {len(specs)}, {{{places}}}}}")
    text = MAIN % {
        "constants": "".join(array(f"constants_{n}", f.constant or bytes(4)) for n, (f, _) in enumerate(parts)),
        "finders": "".join({finder.name: finder.text for finder, _ in parts}.values()),
        "rows": ", ".join(rows),
        "height": SIZE[0],
        "width": SIZE[1],
    }
    for name in ("common.h", "real.h", "crop.h", "boxes.h"):
        (folder / f"mg_{name}").write_text(library(name))
    (folder / "main.c").write_text(text)
    return gcc(folder, folder / "program", *WARNINGS, *flags, "main.c")


def decoded_in_c(program: Path, number: int, finder: Finder, cases: list[list[Array]]) -> list[Array]:
    """Rows of boxes of each case."""
    data = np.array([number, len(cases)], np.int32).tobytes()
    data += b"".join(tensor.tobytes() for case in cases for tensor in case)
    done = subprocess.run([str(program)], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[:4000]
    each = 4 * (1 + NUMBERS * finder.most)
    rows = []
    for case in range(len(cases)):
        said = done.stdout[case * each : (case + 1) * each]
        count = int(np.frombuffer(said[:4], np.int32)[0])
        rows.append(np.frombuffer(said[4:], np.float32).reshape(-1, NUMBERS)[:count])
    return rows


def wanted(task: Task, specs: list[TensorSpec], case: list[Array]) -> Detections:
    assert task.answer is not None
    outputs = [channels_first(o[0]) for o in joined_outputs(task.joined, specs, case)]
    found = cast(Detections, decoder_of(task.answer, task.labels)(outputs))
    limits = np.array([SIZE[1], SIZE[0]] * 2, np.float32)
    boxes = found.boxes[:, [0, 1, 2, 3]]
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return dataclasses.replace(found, boxes=np.clip(np.concatenate([low, high], axis=1), 0, limits))


def made_cases(specs: list[TensorSpec]) -> list[list[Array]]:
    """Random ones, mostly low so that some candidates count, and all extremes."""
    random = np.random.default_rng(5)
    cases = []
    for number in range(CASES):
        if number < 3:
            cases.append([np.full(s.shape, (-128, 127, 0)[number], np.int8) for s in specs])
            continue
        centre, spread = random.integers(-128, 60), random.integers(1, 90)
        cases.append(
            [np.clip(random.normal(centre, spread, s.shape), -128, 127).astype(np.int8) for s in specs]
            if number % 2
            else [random.integers(-128, 128, s.shape).astype(np.int8) for s in specs]
        )
    return cases


def parted() -> tuple[Task, list[TensorSpec]]:
    """Boxes and scores of all levels, each with its own scale, joined along two axes."""
    specs: list[TensorSpec] = []
    steps: list[Step] = []
    for stride in P3_TO_P5:
        for name, numbers, scale in (("boxes", 4, (0.4, -128)), ("scores", 3, PROBABILITY)):
            specs.append(TensorSpec(f"{name}_{stride}", (1, cells(stride), numbers), "int8", *scale))
            steps.append(Part(specs[-1].name))
        steps.append(Concatenate(2, 2))
    joined = (Joined("out", (*steps, Concatenate(1, 3), Transpose((0, 2, 1)))),)
    return dataclasses.replace(TASKS["yolov8"][0], joined=joined, outputs=tuple(s.name for s in specs)), specs


TRIED = {name: (task, specs_of(task, scales)) for name, (task, scales) in TASKS.items()} | {"parted": parted()}


@pytest.fixture(scope="module", params=[("-O2", "-march=native", "-ffp-contract=fast"), tuple(SANITIZERS)])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = [(finder_of(task, specs), specs) for task, specs in TRIED.values()]
    return compiled(parts, tmp_path_factory.mktemp("finders"), *request.param)


@pytest.mark.parametrize("name", TRIED)
def test_boxes_have_the_bits_of_numpy(name: str, program: Path) -> None:
    task, specs = TRIED[name]
    cases = made_cases(specs)
    got = decoded_in_c(program, list(TRIED).index(name), finder_of(task, specs), cases)
    counts = []
    for rows, case in zip(got, cases, strict=True):
        found = wanted(task, specs, case)
        counts.append(len(found))
        assert len(rows) == len(found)
        np.testing.assert_array_equal(rows[:, :4], found.boxes)
        np.testing.assert_array_equal(rows[:, 4], found.scores)
        np.testing.assert_array_equal(rows[:, 5], found.classes)
    assert min(counts) == 0 and max(counts) > 3, counts


def test_every_family_that_is_read_is_tried() -> None:
    assert {task.answer.family for task, _ in TASKS.values() if task.answer is not None} == set(READERS)


def test_what_firmware_does_not_decode_is_refused_with_what_it_does() -> None:
    task = task_of("yolov10", ((300, 6),))
    with pytest.raises(ConfigurationError, match=r"does not decode yolov10.*firmware decodes: yolov8, yolov8-pose"):
        finder_of(task, [TensorSpec("out0", (1, 300, 6), "int8", 0.1)])
    with pytest.raises(ConfigurationError, match="decodes no answers of task 'thing'"):
        finder_of(dataclasses.replace(task, answer=None), [TensorSpec("out0", (1, 300, 6), "int8", 0.1)])
    task, _ = TASKS["centernet"]
    specs = [TensorSpec(s.name, s.shape, "float32") for s in specs_of(*TASKS["centernet"])]
    with pytest.raises(ConfigurationError, match="finds boxes in int8"):
        finder_of(task, specs)
