"""All families of answers, and which one a network is of."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Sequence

import numpy as np

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.decoding.format_check import check_format
from multigraft.answers.families.anchors import YOLOV3_RAW, YOLOV4_RAW, YOLOV5, YOLOV5_RAW, YOLOV7_RAW
from multigraft.answers.families.centernet import CENTERNET
from multigraft.answers.families.ctc import CTC
from multigraft.answers.families.db_text import DB_TEXT
from multigraft.answers.families.distributions import NANODET, YOLOV8_RAW
from multigraft.answers.families.end_to_end import YOLOV7_END2END, YOLOV10
from multigraft.answers.families.faces import RETINAFACE, SCRFD, YUNET
from multigraft.answers.families.keypoints import HEAT_MAPS, MOVENET, POINTS, SIMCC
from multigraft.answers.families.maps import CLASS_MAP, DENSE_MAP
from multigraft.answers.families.mediapipe import MEDIAPIPE
from multigraft.answers.families.plain import PLAIN
from multigraft.answers.families.ssd import SSD, SSD_DECODED, SSD_TF
from multigraft.answers.families.tflite_detection import TFLITE_DETECTION
from multigraft.answers.families.vectors import EMBEDDING, MULTI_LABEL
from multigraft.answers.families.yolo_masks import YOLO26_SEG, YOLOV5_SEG, YOLOV8_SEG
from multigraft.answers.families.yolo_pose import YOLO26_POSE, YOLOV8_POSE
from multigraft.answers.families.yolo_rotated import YOLO26_OBB, YOLOV8_OBB
from multigraft.answers.families.yolov8 import YOLOV8
from multigraft.answers.families.yolox import YOLOX, YOLOX_DECODED
from multigraft.answers.family import Decoded, Decoder, Evidence, Family
from multigraft.answers.own_format import OwnFormat
from multigraft.errors import ConfigurationError, MultigraftError
from multigraft.tensors.arrays import Array

_ROWS = (
    YOLOV8,
    YOLOV8_RAW,
    YOLOV8_POSE,
    YOLOV8_OBB,
    YOLOV8_SEG,
    YOLOV10,
    YOLO26_POSE,
    YOLO26_OBB,
    YOLO26_SEG,
    YOLOV5,
    YOLOV5_RAW,
    YOLOV5_SEG,
    YOLOV7_RAW,
    YOLOV7_END2END,
    YOLOV3_RAW,
    YOLOV4_RAW,
    YOLOX,
    YOLOX_DECODED,
    NANODET,
    CENTERNET,
    PLAIN,
    TFLITE_DETECTION,
    SSD,
    SSD_TF,
    SSD_DECODED,
    MEDIAPIPE,
    SCRFD,
    RETINAFACE,
    YUNET,
    MOVENET,
    HEAT_MAPS,
    SIMCC,
    POINTS,
    CLASS_MAP,
    DENSE_MAP,
    MULTI_LABEL,
    EMBEDDING,
    CTC,
    DB_TEXT,
)
FAMILIES: dict[str, Family] = {family.name: family for family in _ROWS}
"""By name; the order in which they are tried when nothing is said."""

AUTO = "auto"
RAW = "raw"


def recognised(evidence: Evidence, family: str = AUTO) -> AnswerFormat | None:
    """The format of a network's answers.

    Args:
        evidence: What is known of the network.
        family: Its name, :data:`AUTO`, or :data:`RAW` for none.

    Returns:
        None where nothing was said and no family, or more than one, fits; or for ``raw``.

    Raises:
        ConfigurationError: The family is unknown, or the outputs are not of it; the message names the output.
    """
    if family == RAW:
        return None
    if family != AUTO:
        return _named(evidence, family)
    found = fitting(evidence)
    if not found and evidence.labels:
        # Labels of a wrong number hide the family; without them it is found, and its decoder says what is wrong.
        found = fitting(dataclasses.replace(evidence, labels=()))
    return found[0] if len(found) == 1 else None


def fitting(evidence: Evidence) -> list[AnswerFormat]:
    """All readings of a network's outputs that nothing speaks against; more than one where the user has to name it."""
    found = [
        (family, answer)
        for family in FAMILIES.values()
        if evidence.kind in family.kinds and isinstance(answer := family.recognise(evidence), AnswerFormat)
    ]
    return [answer for family, answer in found if family.certain] or [answer for _, answer in found]


def decoder_of(answer: AnswerFormat | OwnFormat, labels: tuple[str, ...]) -> Decoder:
    """What decodes answers of that format.

    Raises:
        ConfigurationError: The family is unknown, or labels or fields do not fit it.
    """
    if isinstance(answer, OwnFormat):
        return answer.decoder(labels)
    family = _family(answer.family)
    check_format(answer)
    try:
        return family.decoder(answer, labels)
    except MultigraftError:
        raise
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise ConfigurationError(
            f"the format of the answers is none of {answer.family}: {error}", "name another format, or build again"
        ) from error


def decoded(answer: AnswerFormat | OwnFormat, labels: tuple[str, ...], outputs: Sequence[Array]) -> Iterator[Decoded]:
    """Answers to many frames, in pixels of the network input, one at a time: maps of all would fill the memory.

    Args:
        answer: The format.
        labels: Of the task.
        outputs: Of the original network in its order and layout, each with the frames as first axis.

    Raises:
        ConfigurationError: As :func:`decoder_of`.
    """
    decode = decoder_of(answer, labels)
    return (decode([np.asarray(o[frame], np.float32) for o in outputs]) for frame in range(len(outputs[0])))


def _named(evidence: Evidence, name: str) -> AnswerFormat:
    found = _family(name).recognise(dataclasses.replace(evidence, named=True))
    if isinstance(found, str):
        raise ConfigurationError(f"the outputs are no {name}: {found}", 'name another format, or "raw"')
    return found


def _family(name: str) -> Family:
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(FAMILIES)}, {AUTO}, {RAW}"
        raise ConfigurationError(f"there is no format {name!r}", remedy)
    return FAMILIES[name]
