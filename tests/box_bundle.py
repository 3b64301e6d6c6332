"""A bundle whose task finds bright rectangles: boxes through the whole way of a frame, without a trained network."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.bundle.bundle import Bundle
from multigraft.tensors.preprocessing import Frame
from tests.bundle_builder import assemble
from tests.tflite_builder import Graph

SIZE = 64


def box_bundle(labels: tuple[str, ...] = ("line",), category_ids: tuple[int, ...] = ()) -> Bundle:
    """Task "line" says where a frame is bright, "kind" classifies it; both at 64 x 64 grey."""
    # Of the first weight this seed makes a positive one, so that bright stays bright.
    graph = Graph(seed=3, float32=True)
    source = graph.input("image", (1, SIZE, SIZE, 1))
    bright = graph.conv("bright", source, 1, kernel=1)
    pooled = graph.mean("kind/mean", bright)
    out = graph.dense("kind/out", pooled, 3)
    segments = {"trunk": ["bright"], "head_kind": ["kind/mean", "kind/out"]}
    tasks: dict[str, Any] = {"line": ("detection", bright, labels), "kind": ("classification", out, ("a", "b", "c"))}
    bundle = assemble(graph, segments, tasks).bundle
    answer = AnswerFormat(
        "db-text", ((1, SIZE, SIZE),), (SIZE, SIZE), {"map": 0}, scores="probabilities", category_ids=category_ids
    )
    line, kind = bundle.manifest.tasks
    manifest = dataclasses.replace(bundle.manifest, tasks=(dataclasses.replace(line, answer=answer), kind))
    contents = {name: bundle.read(name) for name in manifest.files}
    return Bundle.create(manifest, contents)


def bright_frames(*lefts: int | None) -> Frame:
    """Grey frames of 128 x 128, each with a bright rectangle of 40 x 30 at (left, 40), or with none."""
    frames = np.zeros((len(lefts), 2 * SIZE, 2 * SIZE), np.uint8)
    for frame, left in zip(frames, lefts, strict=True):
        if left is not None:
            frame[40:70, left : left + 40] = 255
    return frames
