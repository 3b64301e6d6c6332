"""``multigraft firmware report``: what a project costs; in QEMU also the instructions of every step."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.board_options import EMULATED_TIMEOUT_S
from multigraft.cli.shared.json_text import json_text
from multigraft.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from multigraft.firmware_gen.project.folder import ProjectFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--picture", type=Path, metavar="FILE", help="for `report`: draw the RAM map")


def execute(options: argparse.Namespace, path: Path | None) -> int:
    """Run it; returns the exit code."""
    from multigraft.firmware_gen.inspection.report import draw_report, read_report, report_text
    from multigraft.firmware_gen.project.folder import ProjectFolder

    if path is None:
        raise UsageError("`firmware report` needs a folder", "name one that `multigraft firmware` wrote")
    report = read_report(path)
    folder = ProjectFolder.open(path)
    if options.qemu:
        _count(folder, report)
    report |= _sizes(folder)
    if options.picture is not None:
        draw_report(report, options.picture)
    print(json_text(report) if options.json else report_text(report))
    return 0


def _sizes(folder: ProjectFolder) -> dict[str, int]:
    """What the built image or library takes; empty before it is built, or without the toolchain's tools."""
    from multigraft.firmware_gen.inspection.instruction_count import image_sizes
    from multigraft.firmware_gen.project.folder import IMAGE, LIBRARY

    built = folder.path / (IMAGE + ".elf" if folder.board.uart is not None else LIBRARY)
    if not built.is_file():
        return {}
    try:
        sizes = image_sizes(folder.board, built)
    except MissingDependencyError:
        return {}
    return {"flash_bytes": sizes.flash, "static_ram_bytes": sizes.data + sizes.bss}


def _image(folder: ProjectFolder, into: Path) -> Path:
    """The image that make built, or one of the same sources, which takes no make."""
    from multigraft.firmware_gen.project.compiling import compile_image
    from multigraft.firmware_gen.project.folder import IMAGE

    if folder.board.slots is not None or (folder.path / (IMAGE + ".elf")).is_file():
        return folder.image()
    return compile_image(folder.board, folder.path.absolute(), into)


def _count(folder: ProjectFolder, report: dict[str, Any]) -> None:
    """Add the instructions of the golden case that takes most of them."""
    from multigraft.devices.target.target import Target
    from multigraft.devices.target.terminal_link import TerminalLink
    from multigraft.firmware_gen.boards.qemu import EmulatedBoard, qemu_of
    from multigraft.firmware_gen.inspection.instruction_count import InstructionCounter
    from multigraft.firmware_gen.inspection.time_budget import time_budget_s
    from multigraft.firmware_gen.inspection.ways import ways_of

    qemu_of(folder.board)
    inputs, _ = folder.golden()
    cases = len(next(iter(inputs.values())))
    with tempfile.TemporaryDirectory() as name:
        image = _image(folder, Path(name))
        counter = InstructionCounter(folder.board, image, Path(name))
        emulated = EmulatedBoard(folder.board, image, counter.options)
        with emulated, TerminalLink(emulated.port) as link:
            emulated.resume()
            target = Target(link, timeout_s=max(EMULATED_TIMEOUT_S, time_budget_s(report, folder.board, True)))
            if target.info.digest != folder.digest:
                raise UsageError(f"{image} holds another model", f"build it again with: {folder.make}")
            target.forget()
            answers = [
                target.infer({name: array[case] for name, array in inputs.items()}).outputs for case in range(cases)
            ]
        runs = counter.runs()
    most = max(runs, key=lambda run: run.total)
    report["instructions"] = most.total
    report["instructions_least"] = min(run.total for run in runs)
    report["instruction_cases"] = cases
    if report.get("exits"):
        report["ways"] = ways_of(report["exits"], answers, [run.total for run in runs])
    for number, step in enumerate(report["steps"]):
        step["instructions"] = most.steps.get(number, 0)
