"""How a network's outputs become answers: what the settings say, else what shapes and names tell."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.families.table import AUTO, RAW, decoder_of, fitting, recognised
from multigraft.answers.family import Evidence
from multigraft.answers.own_format import OwnFormat
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.network import Network
from multigraft.converters.settings.answer_settings import AnswerSettings
from multigraft.errors import ConfigurationError
from multigraft.own_code import require_trust
from multigraft.tensors.preprocessing import Preprocessing

RECOGNISED = ("detection", "segmentation")
"""Kinds of tasks whose format is looked for when nothing is said of it: boxes and maps are to lie on the frame."""


def read_answers(
    network: Network,
    settings: AnswerSettings | None,
    report: Report = silent,
    category_ids: tuple[int, ...] = (),
    folder: Path = Path(),
    trusts_code: bool = False,
) -> None:
    """Give the network the format of its answers, in place.

    Args:
        network: Its ``answer`` is set.
        settings: What the settings say; None for nothing.
        report: Takes a line that says what was recognised.
        category_ids: What a data set numbers the classes, where their names come from one.
        folder: Where the module of an own function is looked for.
        trusts_code: Agree to run that function.

    Raises:
        ConfigurationError: The outputs are not of the family that was named, or labels do not fit it.
        UsageError: A function decodes, and nobody has agreed to run it.
        InputError: That function is missing.
    """
    preparation = network.preprocessing
    named = AUTO if settings is None else settings.format
    if named == RAW or (settings is None and network.kind not in RECOGNISED):
        return
    if not isinstance(preparation, Preprocessing):
        if named != AUTO:
            raise ConfigurationError(
                f"task {network.name!r} takes no pictures, and the format {named} is for pictures", "leave answer out"
            )
        return
    size = preparation.height, preparation.width
    if settings is not None and (function := settings.function) is not None:
        require_trust(function, trusts_code)
        network.answer = OwnFormat.load(function, folder, size)
        report(f"note: {function} reads the outputs of {network.name} here; the bundle gives them as they are")
        return
    evidence = Evidence(
        tuple(tuple(network.whole_shape(output)[1:]) for output in network.outputs),
        tuple(output.split("/", 1)[1] for output in network.outputs),
        size,
        network.kind,
        network.labels,
        network.metadata,
    )
    try:
        answer = recognised(evidence, named)
        if answer is None and settings is None and network.kind != "detection":
            return
        if answer is None:
            shapes = ", ".join(" x ".join(map(str, shape)) for shape in evidence.shapes)
            several = [found.family for found in fitting(evidence)]
            what = f"may be of {' or '.join(several)}" if several else "are of no family known"
            report(
                f"warning: outputs of {network.name} ({shapes}) {what}; they come out as raw numbers: name a format "
                "with [task.answer] (docs/answers.md)"
            )
            return
        answer = settings.over(answer) if settings is not None else answer
        answer = _numbered(answer, network.labels, category_ids)
        # Numbers of classes are as many as the classes, just as names are.
        decoder_of(answer, network.labels or tuple(map(str, answer.category_ids)))
    except ConfigurationError as error:
        raise ConfigurationError(f"task {network.name!r}: {error.problem}", error.remedy) from error
    network.answer = answer
    report(f"note: outputs of {network.name} are read as {answer.family}")


def _numbered(answer: AnswerFormat, labels: tuple[str, ...], category_ids: tuple[int, ...]) -> AnswerFormat:
    """With the numbers that a data set gives to the classes, unless the settings give others."""
    if labels and answer.category_ids and len(labels) != len(answer.category_ids):
        raise ConfigurationError(
            f"there are {len(answer.category_ids)} category_ids and {len(labels)} labels", "give one per class"
        )
    return answer if answer.category_ids else dataclasses.replace(answer, category_ids=category_ids)
