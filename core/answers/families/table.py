"""All families of answers, and which one a network is of."""

from __future__ import annotations

import difflib

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.families.yolov8 import YOLOV8
from multigraft.answers.family import Decoder, Evidence, Family
from multigraft.errors import ConfigurationError

FAMILIES: dict[str, Family] = {family.name: family for family in (YOLOV8,)}
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
    fitting = [
        (f, found)
        for f in FAMILIES.values()
        if evidence.kind in f.kinds and isinstance(found := f.recognise(evidence), AnswerFormat)
    ]
    certain = [found for f, found in fitting if f.certain] or [found for _, found in fitting]
    return certain[0] if len(certain) == 1 else None


def decoder_of(answer: AnswerFormat, labels: tuple[str, ...]) -> Decoder:
    """What decodes answers of that format.

    Raises:
        ConfigurationError: The family is unknown, or labels or fields do not fit it.
    """
    return _family(answer.family).decoder(answer, labels)


def _named(evidence: Evidence, name: str) -> AnswerFormat:
    found = _family(name).recognise(evidence)
    if isinstance(found, str):
        raise ConfigurationError(f"the outputs are no {name}: {found}", 'name another format, or "raw"')
    return found


def _family(name: str) -> Family:
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(FAMILIES)}, {AUTO}, {RAW}"
        raise ConfigurationError(f"there is no format {name!r}", remedy)
    return FAMILIES[name]
