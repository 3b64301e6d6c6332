"""``multigraft firmware MODEL``: a project of one model, or of several that never run at once."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.firmware.learning_options import learning_of
from multigraft.cli.shared.json_text import json_text
from multigraft.errors import MultigraftError, UsageError

if TYPE_CHECKING:
    from multigraft.bundle.bundle import Bundle
    from multigraft.firmware_gen.boards.board import Board
    from multigraft.firmware_gen.cascades.cascade import Cascade
    from multigraft.firmware_gen.learning.last_layer import Learning
    from multigraft.firmware_gen.program.program import Program
    from multigraft.firmware_gen.project.project import Project
    from multigraft.tensors.arrays import Array

_SHARED = "models"
"""What several models share is called so unless --prefix says otherwise."""


@dataclass(frozen=True)
class _Given:
    """A model that was named: ``prefix`` is "" where it needs none."""

    prefix: str
    path: Path
    source: bytes | Bundle
    content: bytes
    program: Program
    cascade: Cascade | None

    @property
    def staged_bytes(self) -> int:
        """Bytes of inputs, which our applications hold once more."""
        from multigraft.firmware_gen.cascades.weaving import inputs_of

        return sum(t.stored_bytes for t in inputs_of(self.cascade, self.program))

    @property
    def answer_bytes(self) -> int:
        """Bytes of outputs, which the applications keep of models that take turns."""
        return sum(t.stored_bytes + 8 for t in self.program.outputs)

    def golden(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Golden inputs and outputs, first axis = case."""
        from multigraft.bundle.bundle import Bundle
        from multigraft.firmware_gen.cascades.reference import golden_frames
        from multigraft.firmware_gen.inspection.reference import golden_inputs, golden_vectors

        if self.cascade is not None and isinstance(self.source, Bundle):
            return golden_frames(self.source, self.cascade, self.program)
        return golden_vectors(self.program, given=golden_inputs(self.source) if self.program.exits else {})


def execute(options: argparse.Namespace) -> int:
    """Run it; returns the exit code."""
    from multigraft.bundle.bundle import Bundle
    from multigraft.files import sha256_of
    from multigraft.firmware_gen.boards.boards import board_named
    from multigraft.firmware_gen.inspection.report import REPORT, report_of, report_text
    from multigraft.firmware_gen.learning.last_layer import widened
    from multigraft.firmware_gen.project.folder import check_target, write_folder
    from multigraft.firmware_gen.sounds.golden_sounds import golden_sounds
    from multigraft.firmware_gen.sounds.sound_inputs import sound_inputs

    frame = _frame(options.frame)
    if options.board is None or options.output is None:
        raise UsageError("a board and an output folder are needed", "give --board NAME and -o FOLDER")
    board = board_named(options.board)
    check_target(options.output, options.force)
    given = _given([options.what, *options.more], options.prefix, frame, not options.no_exits)
    if frame is not None and all(g.cascade is None for g in given):
        raise UsageError("no task looks at boxes of another one", "leave out --frame")
    learning = learning_of(options, given[0].source, given[0].program, bool(given[0].prefix))
    project, golden = _project(given, options, board, frame, learning)
    report = report_of(project, board.name)
    hearing = {}
    first = given[0]
    if not project.parts and isinstance(first.source, Bundle) and first.cascade is None:
        program = first.program if learning is None else widened(first.program, learning)
        hearing = golden_sounds(program, sound_inputs(first.source, program.inputs))
    beside = {REPORT: json_text(report, indent=1).encode() + b"\n"}
    digest = sha256_of(b"".join(g.content for g in given))
    write_folder(project, board, digest, options.output, *golden, hearing, beside)
    if options.json:
        print(json_text(report))
    else:
        print(report_text(report))
        print(f"\nwritten to {options.output}; build it with: make -C {options.output}")
    return 0


def _tell_left_out(path: Path, source: Bundle, program: Program) -> None:
    """Say which early exits and gates the program has not."""
    from multigraft.firmware_gen.program.program import NO_EXITS, NO_GATES

    early = [found for task in source.manifest.tasks for found in task.exits]
    if any(not found.is_gate for found in early) and not program.exits:
        print(f"note: {NO_EXITS}, so that of {path} whole networks answer", file=sys.stderr)
    if gated := [task.name for task in source.manifest.tasks if task.has_gate]:
        print(
            f"note: {NO_GATES}, so that {', '.join(gated)} of {path} is answered by the whole network", file=sys.stderr
        )


def _given(words: list[str], prefix: str | None, frame: tuple[int, int] | None, exits: bool) -> list[_Given]:
    """The models that words name."""
    from multigraft.bundle.bundle import Bundle
    from multigraft.firmware_gen.cascades.cascade import cascade_of
    from multigraft.firmware_gen.program.program import load
    from multigraft.firmware_gen.project.naming import DEFAULT, check_prefixes, prefix_of

    given = []
    for word in words:
        name, equals, file = word.partition("=")
        named = bool(equals) and not Path(word).exists()
        path = Path(file) if named else Path(word)
        if named and len(words) == 1:
            prefix = prefix or name
        own = (name if named else prefix_of(path.stem)) if len(words) > 1 else prefix or ""
        source, content = _open(path)
        try:
            program = load(source, path.stem, exits)
            cascade = cascade_of(source, program, frame) if isinstance(source, Bundle) else None
        except MultigraftError as error:
            error.problem = f"{path}: {error.problem}"
            raise
        if exits and isinstance(source, Bundle):
            _tell_left_out(path, source, program)
        given.append(_Given("" if own == DEFAULT and len(words) == 1 else own, path, source, content, program, cascade))
    prefixes = [g.prefix for g in given]
    if len(given) > 1:
        if DEFAULT in prefixes:
            raise UsageError(f"{DEFAULT!r} is what all models together are called", "name it as in NAME=FILE")
        check_prefixes([*prefixes, prefix or _SHARED])
    elif prefixes[0]:
        check_prefixes(prefixes)
    return given


def _project(
    given: list[_Given],
    options: argparse.Namespace,
    board: Board,
    frame: tuple[int, int] | None,
    learning: Learning | None,
) -> tuple[Project, tuple[dict[str, Array], dict[str, Array]]]:
    """What is generated, and the golden vectors under its names."""
    from multigraft.firmware_gen import generate
    from multigraft.firmware_gen.boards.cores import CORES
    from multigraft.firmware_gen.learning.last_layer import widened
    from multigraft.firmware_gen.project.arena_spaces import spaces_of
    from multigraft.firmware_gen.several import generate_several

    first, apart = given[0], bool(given[0].prefix)
    held = sum(g.staged_bytes + (g.answer_bytes if apart else 0) for g in given)
    limits: dict[str, Any] = {
        "core": CORES[board.core],
        "spaces": spaces_of(board, held),
        "ram_bytes": options.ram,
        "flash_bytes": board.capacity("flash") if options.flash is None else options.flash,
        "frame": frame,
        "exits": not options.no_exits,
    }
    if apart:
        name = (options.prefix or _SHARED) if len(given) > 1 else first.prefix
        project = generate_several({g.prefix: g.source for g in given}, name=name, **limits)
        all_golden = [g.golden() for g in given]
        inputs, outputs = ([array for pair in all_golden for array in pair[k].values()] for k in (0, 1))
        cases = min(map(len, inputs))
        return project, (
            {port.name: array[:cases] for port, array in zip(project.inputs, inputs, strict=True)},
            {port.name: array[:cases] for port, array in zip(project.outputs, outputs, strict=True)},
        )
    try:
        project = generate(first.source, name=first.path.stem, learn=learning, **limits)
        if learning is not None:
            first = replace(first, program=widened(first.program, learning))
        return project, first.golden()
    except MultigraftError as error:
        error.problem = f"{first.path}: {error.problem}"
        raise


def _frame(text: str | None) -> tuple[int, int] | None:
    """Height and width."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,6})x([1-9]\d{0,6})", text)
    if found is None:
        raise UsageError(f"--frame {text} is not understood", "write for instance 120x160")
    return int(found[1]), int(found[2])


def _open(path: Path) -> tuple[bytes | Bundle, bytes]:
    """The model or bundle, and the bytes its digest is taken of."""
    from multigraft.bundle.bundle import LARGEST, MODEL, Bundle
    from multigraft.reading import read_file
    from multigraft.tflite.checking.check import check_structure

    if path.suffix == ".tflite":
        content = read_file(path, LARGEST[MODEL])
        check_structure(content, str(path))
        return content, content
    bundle = Bundle.open(path)
    few = bundle.manifest.provenance.get("low_bit")
    if few is not None and not _has_single_bases(few) and (whole := bundle.fallback()) is not None:
        print(f"note: firmware has no such weights, so it is made of the int8 model in {path}", file=sys.stderr)
        bundle = whole
    return bundle, bundle.model


def _has_single_bases(few: Any) -> bool:
    """Whether the layers of few bits are binary convolutions that write int8, as a bundle's provenance says."""
    layers = few.get("layers") if isinstance(few, dict) else None
    if not isinstance(layers, list) or not layers:
        return False
    return all(isinstance(one, dict) and one.get("bases") == 1 for one in layers)
