"""``docs/troubleshooting.md``: every error sentence, by what the user was doing, with its cause and remedy."""

from __future__ import annotations

import re

from docs.pages.causes import CAUSES, SYMPTOMS
from docs.pages.error_sentences import Sentence, sentences

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Typing a command": (
        "The command line, and files that could not be written.",
        ("core/cli/", "core/files.py", "core/__init__.py", "core/npz.py", "core/json_decoding.py", "core/reading.py"),
    ),
    "Settings": (
        "The settings file, `multigraft.toml`. [All settings](settings.md).",
        ("converters/settings/", "core/tensors/", "core/answers/"),
    ),
    "Frames and cameras": (
        "Whatever `--source` and `frames` name. [How to use a camera](camera.md).",
        ("devices/cameras/",),
    ),
    "Sounds and microphones": (
        "WAV files, microphones, and what networks that listen expect of them. [How to listen](sound.md).",
        ("devices/sounds/", "core/sounds/"),
    ),
    "Importing networks": (
        "Reading ONNX files and PyTorch networks.",
        ("converters/importing/", "converters/network/", "converters/standing.py", "core/own_code.py"),
    ),
    "Comparing and grafting": (
        "Choosing what is shared, and showing that it keeps the answers. [Choosing a budget](budget.md).",
        (
            "converters/build.py",
            "converters/first_checks.py",
            "converters/graft/",
            "converters/similarity/",
            "converters/distill/",
            "converters/exits/",
            "converters/job/",
            "core/agreement/",
            "core/exits/",
        ),
    ),
    "Converting and quantising": (
        "From ONNX to one int8 .tflite file.",
        (
            "converters/conversion/",
            "converters/quantising/",
            "converters/low_bit/",
            "converters/one_bit/",
            "converters/packing/",
            "core/tflite/",
        ),
    ),
    "Offloading": (
        "A server that answers hard frames. [Offloading](offload.md).",
        ("runtime/offload/", "converters/offload/"),
    ),
    "Reports, studies and the demo": (
        "Pages and pictures that a build writes. [Reading the report](report.md).",
        ("converters/report/", "converters/study/", "converters/evaluation/", "converters/demo/"),
    ),
    "Opening a bundle": ("Files with the ending `.graft`.", ("core/bundle/",)),
    "Running and measuring": (
        "On the device: the interpreter, the self-test, power sensors.",
        ("runtime/", "devices/power/", "devices/thermal.py", "devices/sysfs.py"),
    ),
    "Field calibration": (
        "Statistics and refits. [A round in the field](calibration.md).",
        ("calibration/", "core/statistics/", "core/refit/", "converters/field/", "converters/plan_refit.py"),
    ),
    "Fleets": (
        "Statistics of many devices, in a bucket or a folder. [A fleet](fleet.md).",
        ("converters/fleet/", "converters/urls.py"),
    ),
    "Generating firmware": ("From a bundle to C. [Microcontrollers](firmware.md).", ("firmware_gen/",)),
    "Talking to a board": ("Serial ports, and what a board answers.", ("devices/target/", "core/serial_protocol.py")),
    "Flashing": ("Writing an image into a board.", ("devices/flash/",)),
}
"""Heading to one line about it and the paths whose errors stand there."""

_INTRODUCTION = """# Troubleshooting

An error is one sentence: what is wrong, a semicolon, and what to do. Search this page for the words of yours. Parts
that differ from case to case stand in ‹angle marks›.

`MULTIGRAFT_DEBUG=1` in front of a command shows where in the code an error arose. What a command's exit code means:
[exit codes](exit-codes.md).

This page is made from the code and from `docs/pages/causes.py`: `python -m docs.pages`.

## It works, but not well

| what you see | cause | what to do |
|---|---|---|
{symptoms}
"""


def markdown() -> str:
    """The page."""
    grouped: dict[str, list[Sentence]] = {title: [] for title in GROUPS}
    for sentence in sentences():
        grouped[group_of(sentence.path)].append(sentence)
    symptoms = "\n".join(f"| {' | '.join(row)} |" for row in SYMPTOMS)
    lines = [_INTRODUCTION.format(symptoms=symptoms)]
    for title, (about, _) in GROUPS.items():
        rows = sorted({_row(sentence) for sentence in grouped[title]}, key=str.casefold)
        lines += [
            f"## {title}",
            "",
            about,
            "",
            "| it says | to do | why, where that is not plain |",
            "|---|---|---|",
            *rows,
            "",
        ]
    return "\n".join(lines).rstrip("\n") + "\n"


def group_of(path: str) -> str:
    """The heading under which the errors of a source file stand.

    Raises:
        LookupError: No heading is for that file; add its folder to :data:`GROUPS`.
    """
    for title, (_, places) in GROUPS.items():
        if path.startswith(places):
            return title
    raise LookupError(f"{path} belongs to no heading of troubleshooting; add its folder to GROUPS in {__name__}")


def _row(sentence: Sentence) -> str:
    remedy = code(sentence.remedy) if sentence.remedy else "report it, with the model"
    return f"| {code(sentence.problem)} | {remedy} | {_CAUSES.get(bare(sentence.problem), '')} |"


def bare(problem: str) -> str:
    """A problem without the names in its angle marks, which are those of variables in the code and come and go."""
    return re.sub("‹[^›]*›", "‹›", problem)


_CAUSES = {bare(problem): cause for problem, cause in CAUSES.items()}


def code(text: str) -> str:
    """Text as code in a cell of a table, to be found letter by letter."""
    marks = "``" if "`" in text else "`"
    inner = f" {text} " if "`" in text else text
    return f"{marks}{inner}{marks}".replace("|", "\\|")
