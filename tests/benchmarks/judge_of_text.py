"""rapidocr-onnxruntime as judge: it finds lines of text, tells which are upside down, and reads them.

The pages are made up here and as large as the network's input, so that nothing is resized before lines are found; the
package is told so by its ``det_limit_side_len``. Ours is one bundle: two tasks look at the boxes of the first.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.answers.detections import Detections
from multigraft.answers.per_box import PerBox
from multigraft.answers.text import Text
from multigraft.runtime.answers import Classification
from multigraft.runtime.result import Result
from multigraft.tensors.arrays import Array
from tests.benchmarks.judges import Count
from tests.benchmarks.text_pages import fonts, page

IOU = 0.9
SAME_LINE = 0.5
"""Overlap from which two boxes show one line, whose characters are then compared."""
JUDGED, FITTED = 100, 72
HEIGHT, WIDTH = 480, 640

_SETTINGS = """
frames = "fit"
[bundle]
name = "reader"
[budget]
min_agreement = 0.9
[graft]
share = {{ lines = "none", side = "none", text = "none" }}
[convert]
precision = "{precision}"
[[task]]
name = "lines"
model = {models}/ch_PP-OCRv4_det_infer.onnx"
kind = "detection"
tolerance = 0.9
preprocessing = {{ size = [{height}, {width}], color = "bgr", mean = 127.5, scale = 0.00784313725 }}
answer = {{ format = "db-text" }}
[[task]]
name = "side"
model = {models}/ch_ppocr_mobile_v2.0_cls_infer.onnx"
kind = "classification"
labels = ["0", "180"]
preprocessing = {{ size = [48, 192], color = "bgr", mean = 127.5, scale = 0.00784313725, resize = "line" }}
on = {{ task = "lines", top = 64 }}
[[task]]
name = "text"
model = {models}/ch_PP-OCRv4_rec_infer.onnx"
kind = "other"
labels = "characters.txt"
preprocessing = {{ size = [48, 480], color = "bgr", mean = 127.5, scale = 0.00784313725, resize = "line" }}
answer = {{ format = "ctc" }}
on = {{ task = "lines", top = 64 }}
"""


class RapidOcr:
    """Its answers are corners, a side, a text and a score for each line."""

    packages: tuple[str, ...] = ("rapidocr_onnxruntime", "cv2", "onnxruntime", "matplotlib")

    def pictures(self, fit: Path | None, judged: Path | None) -> tuple[Path | list[Array], list[Array]]:
        known = fonts()
        size = WIDTH, HEIGHT
        return [page(1_000_000 + i, known, size) for i in range(FITTED)], [page(i, known, size) for i in range(JUDGED)]

    def prepare(self, folder: Path) -> None:
        import onnx

        model = onnx.load(_models() / "ch_PP-OCRv4_rec_infer.onnx")
        characters = next(p.value for p in model.metadata_props if p.key == "character")
        (folder / "characters.txt").write_text(characters)

    def settings(self, precision: str) -> str:
        models = json.dumps(str(_models()))[:-1]
        return _SETTINGS.format(precision=precision, models=models, height=HEIGHT, width=WIDTH)

    def theirs(self, pictures: Sequence[Array]) -> list[Any]:
        from rapidocr_onnxruntime import RapidOCR

        reader = RapidOCR(det_limit_side_len=min(HEIGHT, WIDTH))
        said = []
        for picture in pictures:
            lines, _ = reader(np.ascontiguousarray(picture[:, :, ::-1]))
            corners = [np.array(line[0], np.float32) for line in lines or []]
            crops = reader.get_crop_img_list(np.ascontiguousarray(picture[:, :, ::-1]), corners)
            sides = [side for side, _ in reader.text_cls(crops)[1]] if crops else []
            said.append(
                [[c.tolist(), side, line[1]] for c, side, line in zip(corners, sides, lines or [], strict=True)]
            )
        return said

    def counts(self, theirs: Sequence[Any], ours: Sequence[Result]) -> list[Count]:
        lines = close = characters = same = sides = more = 0
        for said, result in zip(theirs, ours, strict=True):
            found, side, text = (result.answers[name] for name in ("lines", "side", "text"))
            assert isinstance(found, Detections) and isinstance(side, PerBox) and isinstance(text, PerBox)
            mine = _in_whole_pixels(found)
            used: set[int] = set()
            for corners, its_side, its_text in said:
                lines += 1
                characters += len(its_text)
                overlaps = [overlap(np.array(corners, np.float32), other) for other in mine]
                best = int(np.argmax(overlaps)) if overlaps else -1
                if best < 0 or overlaps[best] < SAME_LINE or best in used:
                    continue
                used.add(best)
                close += overlaps[best] >= IOU
                if best not in text.numbers:
                    continue
                place = text.numbers.index(best)
                read, turned = text.answers[place], side.answers[side.numbers.index(best)]
                assert isinstance(read, Text) and isinstance(turned, Classification)
                same += in_common(its_text, read.text)
                sides += turned.label == its_side
            more += len(mine) - len(used)
        return [
            Count(f"boxes of lines, IoU {IOU:g}", close, lines),
            Count("characters", same, characters),
            Count("sides of lines", sides, lines),
            Count("ours that are none of its own (of all of ours)", more, lines + more),
        ]


def overlap(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Intersection over union of two convex polygons (4, 2)."""
    import cv2

    common = float(cv2.intersectConvexConvex(one, other)[0])
    union = float(cv2.contourArea(one)) + float(cv2.contourArea(other)) - common
    return common / union if union > 0 else 0.0


def in_common(one: str, other: str) -> int:
    """Characters of ``one`` that stand in ``other`` in the same order."""
    blocks = difflib.SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks)


def _in_whole_pixels(found: Detections) -> list[npt.NDArray[np.float32]]:
    """As the package does it: rounded, and on the last pixel at most."""
    if found.corners is None:
        return []
    limits = np.array([WIDTH - 1, HEIGHT - 1], np.float32)
    return [np.clip(np.round(corners), 0, limits).astype(np.float32) for corners in found.corners]


def _models() -> Path:
    import rapidocr_onnxruntime

    return Path(rapidocr_onnxruntime.__file__).parent / "models"
