"""``docs/answers.png``: each kind of answer drawn, on made-up pictures: ``python -m docs.pages.answer_pictures``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from docs.pages.sources import DOCS
from multigraft.answers.class_map import ClassMap
from multigraft.answers.decoding.skeleton import COCO_EDGES, pairs_of
from multigraft.answers.dense_map import DenseMap
from multigraft.answers.detections import Detections
from multigraft.answers.embedding import Embedding
from multigraft.answers.masks import block_of
from multigraft.answers.multi_label import MultiLabel
from multigraft.answers.per_box import PerBox
from multigraft.answers.text import Text
from multigraft.runtime.answers import Answer, Classification
from multigraft.runtime.drawing.draw import draw
from multigraft.tensors.arrays import Float32Array
from multigraft.tensors.preprocessing import Frame

WIDTH, HEIGHT = 360, 240
COLUMNS = 3
CELL = WIDTH + 56
PEOPLE = ((70, 70, 150), (200, 90, 110), (290, 100, 90))
"""Centre, top and height of each, pixels."""


def street() -> tuple[Frame, Frame]:
    """A picture with people, and the class of each pixel: sky, road, person."""
    image, classes = Image.new("RGB", (WIDTH, HEIGHT)), Image.new("L", (WIDTH, HEIGHT), 0)
    draw_image, draw_classes = ImageDraw.Draw(image), ImageDraw.Draw(classes)
    for y in range(HEIGHT):
        shade = (150 + y // 3, 190 + y // 5, 235) if y < 140 else (95 + y // 6, 92 + y // 6, 90 + y // 6)
        draw_image.line([0, y, WIDTH, y], fill=shade)
    draw_classes.rectangle([0, 140, WIDTH, HEIGHT], fill=1)
    for number, (x, top, height) in enumerate(PEOPLE):
        head, coat = height // 7, ((60, 70, 120), (120, 60, 70), (70, 100, 70))[number]
        for pen, skin, cloth in ((draw_image, (224, 178, 148), coat), (draw_classes, 2, 2)):
            pen.ellipse([x - head, top, x + head, top + 2 * head], fill=skin)
            pen.rounded_rectangle([x - 2 * head, top + 2 * head, x + 2 * head, top + 4.5 * head], head, fill=cloth)
            pen.rectangle([x - 1.4 * head, top + 4 * head, x - 0.3 * head, top + height], fill=cloth)
            pen.rectangle([x + 0.3 * head, top + 4 * head, x + 1.4 * head, top + height], fill=cloth)
    return np.asarray(image), np.asarray(classes)


def people(count: int = len(PEOPLE)) -> Detections:
    """Their boxes."""
    boxes = [[x - 2 * h // 7, top, x + 2 * h // 7, top + h] for x, top, h in PEOPLE[:count]]
    scores = np.array([0.94, 0.88, 0.61][:count], np.float32)
    return Detections(np.array(boxes, np.float32), scores, np.zeros(count, np.int32), ("person",))


def poses() -> Detections:
    """Their boxes with COCO's 17 keypoints."""
    in_heads = [
        (0, 1), (-0.35, 0.8), (0.35, 0.8), (-0.8, 1), (0.8, 1), (-1.6, 2.5), (1.6, 2.5), (-1.8, 3.4), (1.8, 3.4),
        (-1.7, 4.2), (1.7, 4.2), (-0.9, 4.4), (0.9, 4.4), (-0.9, 5.6), (0.9, 5.6), (-0.9, 6.8), (0.9, 6.8),
    ]  # fmt: skip
    points = [[[x + a * h / 7, top + b * h / 7, 0.9] for a, b in in_heads] for x, top, h in PEOPLE]
    found = people()
    return Detections(
        found.boxes, found.scores, found.classes, found.labels, np.array(points, np.float32), pairs_of(COCO_EDGES)
    )


def scenes() -> dict[str, tuple[Frame, Mapping[str, Answer]]]:
    """Title to a frame and its answers."""
    frame, classes = street()
    found = people()
    masks = tuple(classes[block_of(box)] == 2 for box in found.boxes)
    masked = Detections(found.boxes, found.scores, np.arange(3, dtype=np.int32), ("ann", "bob", "cho"), masks=masks)
    faces = tuple(Classification(name, 0, score) for name, score in (("happy", 0.91), ("calm", 0.77), ("sad", 0.58)))
    sign = Image.new("RGB", (WIDTH, HEIGHT), (235, 235, 225))
    pen = ImageDraw.Draw(sign)
    pen.rectangle([60, 70, 300, 150], fill=(20, 70, 130))
    pen.text((90, 85), "PLATFORM 9", fill=(255, 255, 255), font_size=32)
    sheets = Image.new("RGB", (WIDTH, HEIGHT), (60, 110, 70))
    corners = [_turned((110, 100), (120, 50), 0.5), _turned((250, 140), (110, 46), -0.7)]
    for quad, shade in zip(corners, ((200, 200, 205), (180, 150, 120)), strict=True):
        ImageDraw.Draw(sheets).polygon([(x, y) for x, y in quad.tolist()], fill=shade)
    turned = np.stack(corners)
    upright = np.concatenate([turned.min(axis=1), turned.max(axis=1)], axis=1)
    scores = np.array([0.93, 0.81], np.float32)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    depth = np.where(classes == 2, np.float32(3), np.where(classes == 1, 12 - y / 25, 14 + x / 200)).astype(np.float32)
    line = np.array([[78, 80, 296, 128]], np.float32)
    one = np.array([0.97], np.float32), np.zeros(1, np.int32)
    lines = Detections(line, *one, corners=line[:, [[0, 1], [2, 1], [2, 3], [0, 3]]].reshape(1, 4, 2))
    return {
        "boxes": (frame, {"person": found}),
        "keypoints": (frame, {"pose": poses()}),
        "masks": (frame, {"people": masked}),
        "rotated boxes": (
            np.asarray(sheets),
            {"parts": Detections(upright, scores, np.array([0, 1], np.int32), ("plate", "bar"), corners=turned)},
        ),
        "a class per pixel": (frame, {"ground": ClassMap(classes.astype(np.int32), ("sky", "road", "person"))}),
        "text": (np.asarray(sign), {"line": lines, "text": PerBox("line", (0,), (Text("PLATFORM 9", 0.98),))}),
        "one task on another's boxes": (frame, {"person": found, "mood": PerBox("person", (0, 1, 2), faces)}),
        "a number per pixel": (frame, {"depth": DenseMap(depth[None])}),
        "answers without a place": (
            frame,
            {
                "weather": Classification("fair", 1, 0.93),
                "tags": MultiLabel(
                    np.array([0, 2], np.int32), np.array([0.9, 0.6], np.float32), ("day", "night", "dry")
                ),
                "place": Embedding(np.ones(4, np.float32) / 2, "Main Street", 0.83),
            },
        ),
    }


def _turned(centre: tuple[float, float], size: tuple[float, float], angle: float) -> Float32Array:
    """Corners (4, 2) of a box that is turned."""
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(size) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners: Float32Array = (half @ turn.T + np.array(centre)).astype(np.float32)
    return corners


def sheet() -> Image.Image:
    """All of them with their titles, in rows; a wide one takes the room of two."""
    tiles = {title: draw(frame, answers) for title, (frame, answers) in scenes().items()}
    rows: list[list[tuple[str, Image.Image, int]]] = [[]]
    for title, tile in tiles.items():
        cells = -(-(tile.width + 12) // CELL)
        if sum(taken for _, _, taken in rows[-1]) + cells > COLUMNS:
            rows.append([])
        rows[-1].append((title, tile, cells))
    heights = [max(tile.height for _, tile, _ in row) + 34 for row in rows]
    image = Image.new("RGB", (CELL * COLUMNS, sum(heights)), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    for number, row in enumerate(rows):
        x, y = 6, sum(heights[:number])
        for title, tile, cells in row:
            pen.text((x, y + 8), title, fill=(0, 0, 0), font_size=16)
            image.paste(tile, (x, y + 30))
            x += CELL * cells
    return image


def main() -> None:
    """Write the sheet."""
    palette = sheet().quantize(240, dither=Image.Dither.NONE)
    palette.save(DOCS / "answers.png", optimize=True)


if __name__ == "__main__":
    main()
