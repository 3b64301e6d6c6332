"""CenterNet: a heat map per class whose peaks are centres, a map of sizes and a map of offsets within the cell.

Sizes and offsets count cells; a peak is a cell that no neighbour exceeds (of equal ones the first, so that int8 scores
don't give one thing twice), and nothing is suppressed after that. Source: arXiv:1904.07850, section 4;
xingyizhou/CenterNet src/lib/models/decode.py (ctdet_decode), src/lib/opts.py (heads hm, wh, reg).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.boxes import corners_of_centres
from multigraft.answers.decoding.hints import contradiction, output_named, size_text
from multigraft.answers.decoding.label_check import check_labels
from multigraft.answers.decoding.levels import stride_of
from multigraft.answers.decoding.selection import are_logits, logit, sigmoid
from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.answers.geometry.suppression import CANDIDATES
from multigraft.errors import ConfigurationError
from multigraft.tensors.arrays import Float32Array

_NEIGHBOURS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


def _recognise(evidence: Evidence) -> AnswerFormat | str:
    shapes = evidence.shapes
    if len(shapes) not in (2, 3):
        return f"there are {len(shapes)} outputs in place of two or three"
    for i, shape in enumerate(shapes):
        if len(shape) != 3 or shape[1:] != shapes[0][1:]:
            return f"output {i} is {size_text(shape)} and no map like the others"
    stride = stride_of(evidence.size, *shapes[0][1:])
    if stride is None or stride > 8:
        return f"maps of {size_text(shapes[0][1:])} are not the input divided by 2, 4 or 8"
    roles = _roles(evidence)
    if isinstance(roles, str):
        return roles
    for role in ("sizes", "offsets"):
        if role in roles and shapes[roles[role]][0] != 2:
            return f"output {roles[role]} has {shapes[roles[role]][0]} channels, and {role} have 2"
    if clause := contradiction(evidence, shapes[roles["heat"]][0], f"output {roles['heat']}"):
        return clause
    return AnswerFormat("centernet", shapes, evidence.size, roles, strides=(stride,))


def _roles(evidence: Evidence) -> dict[str, int] | str:
    """By the names of the outputs, and where the user named the family by their order in the published heads."""
    sizes = output_named(evidence, r"(^|[^a-z])(wh|sizes?)([^a-z]|$)")
    offsets = output_named(evidence, r"(^|[^a-z])(reg|offsets?|off)([^a-z]|$)")
    count = len(evidence.shapes)
    is_told = sizes is not None and sizes != offsets and (count == 2 or offsets is not None)
    if is_told:
        others = set(range(count)) - {sizes, offsets}
        if len(others) == 1:
            told = {"heat": others.pop(), "sizes": sizes, "offsets": offsets}
            return {role: number for role, number in told.items() if number is not None}
    if not evidence.named:
        return "the names of the outputs do not tell sizes from offsets"
    return dict(zip(("heat", "sizes", "offsets"), range(count), strict=False))


def _decoder(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    maps = {answer.shapes[number][1:] for number in answer.roles.values()}
    lack = {"heat", "sizes"} - answer.roles.keys()
    if lack or len(answer.strides) != 1 or len(maps) != 1 or len(maps.pop()) != 2:
        raise ConfigurationError("the roles of centernet are no maps of one size", "give heat, sizes and offsets")
    for role in answer.roles.keys() & {"sizes", "offsets"}:
        if answer.shapes[answer.roles[role]][0] != 2:
            raise ConfigurationError(f"output {answer.roles[role]} has not the 2 channels of {role}", "name others")
    check_labels(labels, answer.shapes[answer.roles["heat"]][0], f"output {answer.roles['heat']}")
    stride = np.float32(answer.strides[0])

    @np.errstate(all="ignore")
    def decode(outputs: Sequence[Float32Array]) -> Detections:
        heat, sizes = outputs[answer.roles["heat"]], outputs[answer.roles["sizes"]]
        raw = are_logits(heat, answer.scores)
        kinds, rows, columns = _peaks(heat, logit(answer.score_threshold) if raw else answer.score_threshold)
        centres = np.stack([columns, rows], axis=1).astype(np.float32)
        if "offsets" in answer.roles:
            centres += outputs[answer.roles["offsets"]][:, rows, columns].T
        else:
            centres += np.float32(0.5)
        boxes = corners_of_centres(np.concatenate([centres, sizes[:, rows, columns].T], axis=1) * stride)
        scores = heat[kinds, rows, columns]
        return Detections(boxes, sigmoid(scores) if raw else scores, kinds.astype(np.int32), labels).best(answer.most)

    return decode


def _peaks(heat: Float32Array, threshold: float) -> tuple[npt.NDArray[np.intp], ...]:
    """Class, row and column of the cells at or above the threshold that no neighbour exceeds."""
    numbers = np.flatnonzero(heat >= threshold)
    if len(numbers) > CANDIDATES:
        values = heat.reshape(-1)[numbers]
        numbers = numbers[np.sort(np.argpartition(-values, CANDIDATES)[:CANDIDATES])]
    kinds, rows, columns = np.unravel_index(numbers, heat.shape)
    values, is_peak = heat[kinds, rows, columns], np.ones(len(numbers), np.bool_)
    for down, across in _NEIGHBOURS:
        y, x = rows + down, columns + across
        inside = (y >= 0) & (y < heat.shape[1]) & (x >= 0) & (x < heat.shape[2])
        other = heat[kinds, np.where(inside, y, rows), np.where(inside, x, columns)]
        comes_first = (down, across) < (0, 0)
        is_peak &= ~inside | (~(other >= values) if comes_first else ~(other > values))
    return kinds[is_peak], rows[is_peak], columns[is_peak]


CENTERNET = Family(
    "centernet",
    "CenterNet: a heat map per class, a map of sizes and one of offsets",
    ("detection",),
    _recognise,
    _decoder,
)
