"""``multigraft firmware``: a bundle or an int8 .tflite as a C project, and what it costs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.firmware import report as firmware_report
from multigraft.cli.firmware import verify as firmware_verify
from multigraft.cli.shared.json_text import json_text
from multigraft.errors import MultigraftError, UsageError

if TYPE_CHECKING:
    from multigraft.bundle.bundle import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument(
        "what", metavar="MODEL|ops|report|verify", help="a .graft or int8 .tflite to generate from; or a word"
    )
    parser.add_argument("folder", nargs="?", type=Path, help="for `report` and `verify`: a folder that was generated")
    parser.add_argument("--board", help="what to generate for; `multigraft devices boards` lists them")
    parser.add_argument("-o", "--output", type=Path, help="the project's folder")
    parser.add_argument("--force", action="store_true", help="write into a folder that holds other files, too")
    parser.add_argument("--ram", type=int, metavar="BYTES", help="fail if the model needs more RAM than this")
    parser.add_argument("--flash", type=int, metavar="BYTES", help="fail if its constants need more flash than this")
    firmware_report.add_arguments(parser)
    firmware_verify.add_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it; returns the exit code."""
    if options.what == "ops":
        return _ops(options)
    if options.what == "report":
        return firmware_report.execute(options)
    if options.what == "verify":
        return firmware_verify.execute(options)
    return _generate(options)


def _ops(options: argparse.Namespace) -> int:
    from multigraft.firmware_gen.inspection.operator_table import operator_table
    from multigraft.firmware_gen.operators import OPERATORS

    if options.json:
        print(json_text({n: {"takes": o.summary, "demands": o.demands()} for n, o in sorted(OPERATORS.items())}))
    else:
        print(operator_table())
    return 0


def _generate(options: argparse.Namespace) -> int:
    from multigraft.bundle.bundle import Bundle
    from multigraft.files import sha256_of
    from multigraft.firmware_gen import generate
    from multigraft.firmware_gen.boards.boards import board_named
    from multigraft.firmware_gen.boards.cores import CORES
    from multigraft.firmware_gen.inspection.reference import golden_vectors
    from multigraft.firmware_gen.inspection.report import REPORT, report_of, report_text
    from multigraft.firmware_gen.program.program import load
    from multigraft.firmware_gen.project.arena_spaces import spaces_of
    from multigraft.firmware_gen.project.folder import check_target, write_folder
    from multigraft.firmware_gen.sounds.golden_sounds import golden_sounds
    from multigraft.firmware_gen.sounds.sound_inputs import sound_inputs

    if options.board is None or options.output is None:
        raise UsageError("a board and an output folder are needed", "give --board NAME and -o FOLDER")
    board = board_named(options.board)
    check_target(options.output, options.force)
    name = Path(options.what).stem
    source, content = _open(Path(options.what))
    if isinstance(source, Bundle) and (inner := [t.name for t in source.manifest.tasks if t.on is not None]):
        print(
            f"multigraft: note: {', '.join(inner)} look at boxes of other tasks; firmware finds and cuts no boxes, so "
            "your program writes their inputs and asks for them by its mask of tasks",
            file=sys.stderr,
        )
    try:
        program = load(source, name)
        project = generate(
            source,
            core=CORES[board.core],
            name=name,
            spaces=spaces_of(board, sum(tensor.stored_bytes for tensor in program.inputs)),
            ram_bytes=options.ram,
            flash_bytes=board.capacity("flash") if options.flash is None else options.flash,
        )
    except MultigraftError as error:
        error.problem = f"{options.what}: {error.problem}"
        raise
    report = report_of(project, board.name)
    hearing = golden_sounds(program, sound_inputs(source, program.inputs)) if isinstance(source, Bundle) else {}
    beside = {REPORT: json_text(report, indent=1).encode() + b"\n"}
    write_folder(project, board, sha256_of(content), options.output, *golden_vectors(program), hearing, beside)
    if options.json:
        print(json_text(report))
    else:
        print(report_text(report))
        print(f"\nwritten to {options.output}; build it with: make -C {options.output}")
    return 0


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
    return bundle, bundle.model
