"""Crops, resizing and the way back in C, beside multigraft's own: the same bytes and the same floats."""

from __future__ import annotations

import itertools
import subprocess
import typing
from pathlib import Path

import numpy as np
import pytest

from multigraft.answers.crops import On, crop
from multigraft.answers.detections import Detections
from multigraft.answers.placement import Placement
from multigraft.firmware_gen.cascades.cascade import View, view_of
from multigraft.firmware_gen.cascades.weaving import view_text
from multigraft.firmware_gen.kernels.c_text import array
from multigraft.firmware_gen.project.emission import library
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import preparer_for
from multigraft.tensors.preprocessing import Color, Preprocessing, Resize
from multigraft.tensors.specs import TensorSpec
from tests.firmware_gen.host import SANITIZERS, WARNINGS, gcc

FRAME = (37, 50)
BOXES = 24
MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "mg_crop.h"
%(constants)s
%(views)s
static const struct {
    const mg_view *view;
    const uint32_t *constants;
} all[] = {%(rows)s};
int main(void)
{
    int32_t head[2];
    while (fread(head, sizeof head, 1, stdin) == 1) {
        const mg_view *const v = all[head[0]].view;
        const size_t bytes = (size_t)(v->frame_height * v->frame_width * v->frame_channels);
        const size_t size = (size_t)(v->height * v->width * v->channels);
        int8_t *const frame = malloc(bytes), *const out = malloc(size);
        if (fread(frame, 1, bytes, stdin) != bytes)
            return 1;
        for (int32_t n = 0; n < head[1]; n++) {
            int8_t row[MG_BOX_BYTES] = {0}, crops[8] = {1, 0, 0, 0, 0, 0, 0, 0};
            float inner[4];
            mg_part part;
            if (fread(row, 1, 16, stdin) != 16 || fread(inner, sizeof inner, 1, stdin) != 1)
                return 1;
            mg_part_of(v, row, crops, 0, &part);
            mg_prepare(v, all[head[0]].constants, frame, &part, out);
            mg_on_frame(v, &part, inner);
            fwrite(out, 1, size, stdout);
            fwrite(inner, sizeof inner, 1, stdout);
        }
        free(frame), free(out);
    }
    return 0;
}
"""

SPECS = [(0.0079, 0), (0.02, -30)]


def made_views() -> list[tuple[View, int]]:
    """Every way to resize and to colour, of grey and of coloured frames."""
    views = []
    ways: tuple[Resize, ...] = typing.get_args(Resize)
    colors: tuple[Color, ...] = typing.get_args(Color)
    for number, (resize, nearest, color, channels) in enumerate(itertools.product(ways, (False, True), colors, (1, 3))):
        size = ((16, 16), (9, 20), (24, 7), (37, 50))[number % 4]
        depth = 1 if color == "grey" else 3
        seen = Preprocessing(
            *size, color, (120.0, 110.0, 90.5)[:depth], (1 / 60, 1 / 55, 1 / 128)[:depth], resize,
            "nearest" if nearest else "bilinear", (None, 0, 114)[number % 3],
        )  # fmt: skip
        scale, zero_point = SPECS[number % 2]
        spec = TensorSpec("x", (1, *size, depth), "int8", scale, zero_point)
        views.append((view_of("thing", seen, spec, (0.0, 0.25, 1 / 3, 2.0)[number % 4]), channels))
    return views


VIEWS = made_views()


def spec_of(view: View, number: int) -> TensorSpec:
    seen = view.preprocessing
    return TensorSpec("x", (1, seen.height, seen.width, seen.channels), "int8", *SPECS[number % 2])


@pytest.fixture(scope="module", params=[("-O2", "-march=native", "-ffp-contract=fast"), tuple(SANITIZERS)])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    texts = [view_text(view, (*FRAME, channels)) for view, channels in VIEWS]
    rows = ", ".join(f"{{&{name}, constants_{number}}}" for number, (name, _) in enumerate(texts))
    text = MAIN % {
        "constants": "".join(array(f"constants_{n}", view.stored.tobytes()) for n, (view, _) in enumerate(VIEWS)),
        "views": "".join(dict(texts).values()),
        "rows": rows,
    }
    for name in ("common.h", "real.h", "crop.h"):
        (folder / f"mg_{name}").write_text(library(name))
    (folder / "main.c").write_text(text)
    return gcc(folder, folder / "program", *WARNINGS, *request.param, "main.c")


def random_boxes(random: np.random.Generator, size: tuple[int, int]) -> Array:
    """Boxes within a picture of that size, thin ones, whole ones, and ones on whole pixels among them."""
    limits = np.array([size[1], size[0]] * 2, np.float32)
    corners = random.uniform(0, 1, (BOXES, 2, 2))
    boxes = np.sort(corners, axis=1).reshape(BOXES, 4).astype(np.float32) * limits
    boxes[0], boxes[1], boxes[2] = [0, 0, *limits[:2]], 0, limits
    boxes[3:9] = np.round(boxes[3:9])
    boxes[9, 2:] = boxes[9, :2]
    return boxes


@pytest.mark.parametrize("number", range(len(VIEWS)))
def test_crops_have_the_bytes_and_boxes_the_bits_of_python(number: int, program: Path) -> None:
    view, channels = VIEWS[number]
    seen, on = view.preprocessing, On("thing", view.margin)
    random = np.random.default_rng(number)
    frame = random.integers(0, 256, (*FRAME, channels)[: 2 if channels == 1 else 3], np.uint8)
    boxes, inner = random_boxes(random, FRAME), random_boxes(random, (seen.height, seen.width))
    inner += random.normal(0, 5, inner.shape).astype(np.float32)
    data = np.array([number, BOXES], np.int32).tobytes() + frame.tobytes()
    data += b"".join(a.tobytes() + b.tobytes() for a, b in zip(boxes, inner, strict=True))
    done = subprocess.run([str(program)], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[:4000]
    size = seen.height * seen.width * seen.channels
    rows = np.frombuffer(done.stdout, np.uint8).reshape(BOXES, size + 16)
    spec = spec_of(view, number)
    preparer = preparer_for(seen, spec)
    found = Detections(boxes, np.ones(BOXES, np.float32), np.zeros(BOXES, np.int32))
    for k in range(BOXES):
        part, place = crop(frame, found, k, on)
        out = np.empty(spec.shape, np.int8)
        preparer.fill(part, out)
        np.testing.assert_array_equal(rows[k, :size].view(np.int8), out.reshape(-1))
        placed = place.boxes(Placement.of_frame(seen, part.shape).boxes(inner[k : k + 1]))
        np.testing.assert_array_equal(rows[k, size:].copy().view(np.float32), placed[0])
