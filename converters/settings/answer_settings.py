"""``[task.answer]``: how a network's outputs are to be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.families.table import AUTO, FAMILIES, RAW
from multigraft.converters.settings.toml_reader import Reader, choice, flag, integer, key, mapping, number, several
from multigraft.errors import ConfigurationError
from multigraft.own_code import is_function

_SHARE = number(lambda v: 0 < v < 1, "a number above 0 and below 1")
_PIXELS = number(lambda v: v > 0, "a number above 0")


_FAMILY = choice(AUTO, RAW, *FAMILIES)
_FORMAT = Reader(
    f"{_FAMILY.expects}, or module:function",
    lambda value, place: value if isinstance(value, str) and is_function(value) else _FAMILY.read(value, place),
)
_OF_ONE = dict.fromkeys(("core_threshold", "unclip_ratio", "min_size"), "db-text") | {"blank": "ctc"}
"""Keys that one family alone knows."""


@dataclass(frozen=True)
class AnswerSettings:
    """Which family of networks the outputs are of, and what it needs to know beside their shapes."""

    format: str = key(
        "Family of the network (see docs/answers.md); auto recognises it by shapes and names, raw leaves numbers; "
        "module:function decodes on this machine alone.",
        _FORMAT,
        default=AUTO,
    )
    score_threshold: float | None = key("Answers below are no answers.", _SHARE, default=None)
    iou_threshold: float | None = key(
        "Of two boxes of a class that overlap by more, the one of the lower score goes.", _SHARE, default=None
    )
    most: int | None = key("Answers kept per frame.", integer(1, "a whole number above 0"), default=None)
    strides: tuple[int, ...] | None = key(
        "Input pixels per cell of each level.",
        several(integer(1, "a whole number above 0"), "a list of whole numbers above 0, as in [8, 16, 32]"),
        default=None,
    )
    anchors: tuple[tuple[float, ...], ...] | None = key(
        "Per level, width and height of each anchor in input pixels.",
        several(several(_PIXELS, "a list of numbers"), "a list of lists, as in [[10, 13, 16, 30], [30, 61, 62, 45]]"),
        default=None,
    )
    keypoints: int | None = key("Number of keypoints per box.", integer(1, "a whole number above 0"), default=None)
    keypoint_numbers: int | None = key(
        "Numbers per keypoint: 3 with a confidence, 2 without.", integer(2, "2 or 3"), default=None
    )
    boxes: str | None = key("How boxes are written.", choice("corners", "centres", "sizes", "y_first"), default=None)
    scores: str | None = key("What scores are.", choice("probabilities", "logits"), default=None)
    normalised: bool | None = key("Whether coordinates are shares of the input (0..1).", flag(), default=None)
    blank: int | None = key(
        "Number of the class that means nothing (text).", integer(0, "a whole number of at least 0"), default=None
    )
    roles: Mapping[str, int] | None = key(
        "Which output holds what, by number from 0.",
        mapping(
            integer(0, "a whole number of at least 0"), "a table of ROLE = OUTPUT, as in { boxes = 0, scores = 1 }"
        ),
        default=None,
    )
    edges: tuple[int, ...] | None = key(
        "Pairs of keypoints that a drawing joins, one after the other.",
        several(integer(0, "a whole number of at least 0"), "a list of whole numbers, as in [0, 1, 1, 2]"),
        default=None,
    )

    core_threshold: float | None = key(
        "Text boxes (db-text): pixels of the map above are the core of a line.", _SHARE, default=None
    )
    unclip_ratio: float | None = key(
        "Text boxes: each side of a core moves out by this times its area over its perimeter.",
        number(lambda v: 0 < v <= 10, "a number above 0 and up to 10"),
        default=None,
    )
    min_size: float | None = key(
        "Text boxes: pixels of the map that the shorter side of a core has at least.",
        number(lambda v: 1 <= v <= 1000, "a number of 1 to 1000"),
        default=None,
    )
    category_ids: tuple[int, ...] | None = key(
        "What a data set numbers the classes, for COCO files; by labels where those come from one, else from 1 on.",
        several(integer(0, "a whole number of at least 0"), "a list of whole numbers, as in [1, 2, 3]"),
        default=None,
    )

    @property
    def function(self) -> str | None:
        """``module:function`` where that decodes.

        Raises:
            ConfigurationError: More is said, which a function knows by itself.
        """
        if not is_function(self.format):
            return None
        for f in dataclasses.fields(self):
            if f.name != "format" and getattr(self, f.name) is not None:
                raise ConfigurationError(f"{f.name} is of no use to {self.format}", "leave it out")
        return self.format

    def over(self, recognised: AnswerFormat) -> AnswerFormat:
        """What was recognised, with what is said here.

        Raises:
            ConfigurationError: Something is said that only another family knows.
        """
        known = {f.name for f in dataclasses.fields(AnswerFormat)}
        said = {
            f.name: value
            for f in dataclasses.fields(self)
            if f.name in known and (value := getattr(self, f.name)) is not None
        }
        for name, family in _OF_ONE.items():
            if name in said and family != recognised.family:
                raise ConfigurationError(
                    f"{name} belongs to {family}, and the outputs are read as {recognised.family}",
                    "leave it out, or name that format",
                )
        if "roles" in said:
            said["roles"] = {**recognised.roles, **said["roles"]}
        return dataclasses.replace(recognised, **said)
