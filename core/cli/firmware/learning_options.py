"""What ``multigraft firmware --learn`` asks for."""

from __future__ import annotations

import argparse
import itertools
from typing import TYPE_CHECKING

from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.bundle.bundle import Bundle
    from multigraft.firmware_gen.learning.last_layer import Learning
    from multigraft.firmware_gen.program.program import Program

MOST_KNOWN = 1000
"""Frames that are looked at; more of them change little, and take minutes."""
_OF_CLASSES = ("classification", "other")
"""Kinds of tasks whose answer may be one number a class."""


def learning_of(
    options: argparse.Namespace, source: bytes | Bundle, program: Program, has_prefix: bool
) -> Learning | None:
    """What the board is to learn; None where it learns nothing.

    Raises:
        InputError: The model is none of int8, or frames are of another kind.
        UnsupportedOperatorError: An operator, or its use, is not supported.
        UsageError: Options do not go together, or the task cannot learn.
    """
    from multigraft.bundle.bundle import Bundle
    from multigraft.cli.firmware.prepared_frames import prepared_frames
    from multigraft.firmware_gen.generator import check
    from multigraft.firmware_gen.learning.known_frames import knows
    from multigraft.firmware_gen.learning.last_layer import Learning, check_boxes, task_of
    from multigraft.firmware_gen.passes.fold_padding import fold_padding
    from multigraft.firmware_gen.passes.pruning import prune

    if options.learn is None:
        if options.classes is not None or options.known is not None:
            raise UsageError("--classes and --known are of a task that learns", "name it with --learn TASK")
        return None
    if options.classes is None:
        raise UsageError("a task that learns needs a number of classes", "give --classes, those it knows included")
    if has_prefix:
        raise UsageError("one model learns, under its own names", "give one model and no --prefix")
    learning = Learning(options.learn, options.classes)
    if isinstance(source, Bundle):
        found = source.manifest.task(task_of(program, learning).name)
        if found.kind not in _OF_CLASSES:
            raise UsageError(
                f"{found.name!r} is a task of {found.kind}, and what learns tells classes apart",
                "let a task of classification learn",
            )
    if options.known is None:
        return learning
    if not isinstance(source, Bundle):
        raise UsageError("a .tflite file does not say how frames are prepared", "give a bundle, or leave out --known")
    check_boxes(any(t.on is not None for t in source.manifest.tasks))
    # What computes features knows only operators that firmware has.
    check(program)
    task = task_of(program, learning).name
    frames = [*itertools.islice(prepared_frames(source, options.known, task), MOST_KNOWN)]
    return Learning(options.learn, options.classes, knows(prune(fold_padding(program)), learning, frames))
