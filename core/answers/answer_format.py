"""How the outputs of a task are to be read; plain data in the manifest."""

from __future__ import annotations

from dataclasses import dataclass, field

SCORE_THRESHOLD = 0.25
IOU_THRESHOLD = 0.45
CORE_THRESHOLD = 0.3
UNCLIP_RATIO = 1.6
MIN_SIZE = 3.0
"""Of DB, as RapidOCR has them."""
MOST = 100
"""Answers kept per frame: a hostile or confused network cannot make a frame cost more than this."""


@dataclass(frozen=True)
class AnswerFormat:
    """What a family needs to know to decode; a field that a family does not use stays as it is.

    Attributes:
        family: Name in :data:`multigraft.answers.families.table.FAMILIES`.
        shapes: Of the network's outputs without the batch axis, in the layout of the original network (channels
            first), in its order.
        size: Height and width of the network input, pixels.
        roles: Role ("boxes", "scores", "keypoints", "anchors_8"...) to the number of the output that holds it.
        score_threshold: Answers below are no answers.
        iou_threshold: Of two boxes of one class that overlap by more, the one with the lower score goes.
        most: Answers kept per frame, those of the highest scores.
        strides: Input pixels per cell of each level, where levels are joined or can't be told by their shapes.
        anchors: Per level, width and height of each anchor in input pixels, one after the other.
        keypoints: Number of keypoints per box.
        keypoint_numbers: 3 where each keypoint has a confidence, 2 where it has x and y alone.
        bins: Numbers per edge of a box whose distance is the mean of a distribution; 1 where it is a distance itself.
        boxes: How boxes are written: "corners" (left, top, right, bottom), "centres" (centre x, centre y, width,
            height), "sizes" (left, top, width, height) or "y_first" (top, left, bottom, right).
        scores: "probabilities", "logits" (a sigmoid has still to be taken), or "" where the values tell it: raw
            scores of a detector are far below 0 almost everywhere, probabilities never.
        normalised: Whether coordinates are shares of the input (0..1) rather than pixels.
        blank: CTC: number of the class that means nothing.
        edges: Pairs of keypoints to be joined by a line, one after the other.
        gallery: Embeddings: names of known vectors; the vectors stand in ``gallery_vectors``, row by row.
        core_threshold: Text boxes: pixels of the map above are the core of a line.
        unclip_ratio: Text boxes: each side of a core moves out by this times its area over its perimeter.
        min_size: Text boxes: pixels of the map that the shorter side of a core has at least.
        category_ids: Per class, what a data set numbers it; empty where nobody said.
    """

    family: str
    shapes: tuple[tuple[int, ...], ...]
    size: tuple[int, ...]
    roles: dict[str, int] = field(default_factory=dict)
    score_threshold: float = SCORE_THRESHOLD
    iou_threshold: float = IOU_THRESHOLD
    most: int = MOST
    strides: tuple[int, ...] = ()
    anchors: tuple[tuple[float, ...], ...] = ()
    keypoints: int = 0
    keypoint_numbers: int = 3
    bins: int = 0
    boxes: str = "corners"
    scores: str = ""
    normalised: bool = False
    blank: int = 0
    edges: tuple[int, ...] = ()
    gallery: tuple[str, ...] = ()
    gallery_vectors: tuple[tuple[float, ...], ...] = ()
    core_threshold: float = CORE_THRESHOLD
    unclip_ratio: float = UNCLIP_RATIO
    min_size: float = MIN_SIZE
    category_ids: tuple[int, ...] = ()
