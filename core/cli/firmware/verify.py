"""``multigraft firmware verify``: golden vectors on the target, bit for bit."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.board_options import add_timeout_argument, timeout_s
from multigraft.cli.shared.json_text import json_text
from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.tensors.arrays import Array

FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", help="for `verify`: serial port of the board")
    where.add_argument("--qemu", action="store_true", help="for `verify` and `report`: boot the image in QEMU")
    add_timeout_argument(parser, "for `verify`: ")


def execute(options: argparse.Namespace, path: Path | None) -> int:
    """Run it; returns the exit code."""
    from multigraft.devices.target.golden import joined, verify_hearing, verify_target
    from multigraft.devices.target.link import Link
    from multigraft.devices.target.serial_link import SerialLink
    from multigraft.devices.target.target import Target
    from multigraft.devices.target.terminal_link import TerminalLink
    from multigraft.firmware_gen.boards.qemu import EmulatedBoard
    from multigraft.firmware_gen.inspection.report import REPORT, read_report
    from multigraft.firmware_gen.inspection.time_budget import time_budget_s
    from multigraft.firmware_gen.project.folder import ProjectFolder

    if path is None or not (options.qemu or options.port):
        raise UsageError("`firmware verify` needs a folder and a device", "name the folder and give --port or --qemu")
    folder = ProjectFolder.open(path)
    inputs, outputs = folder.golden()
    with contextlib.ExitStack() as stack:
        if options.qemu:
            emulated = stack.enter_context(EmulatedBoard(folder.board, folder.image()))
            link: Link = stack.enter_context(TerminalLink(emulated.port))
            emulated.resume()
        else:
            link = stack.enter_context(SerialLink(options.port))
        # A project that was written without the command has no report.
        built = read_report(path) if (path / REPORT).is_file() else {}
        budget_s = time_budget_s(built, folder.board, options.qemu) if built else 0.0
        target = Target(link, timeout_s=timeout_s(options, options.qemu, budget_s))
        if target.info.board != folder.board.name:
            raise UsageError(
                f"the device at {target.name} is a {target.info.board}, the project is for {folder.board.name}",
                "choose the other port or the other project",
            )
        report = verify_target(target, inputs, outputs, folder.digest)
        if sounds := folder.golden_sounds():
            report = joined(report, verify_hearing(target, sounds.pop("samples"), sounds))
    where = "in QEMU" if options.qemu else f"at {options.port}"
    if options.json:
        print(json_text({**dataclasses.asdict(report), "board": folder.board.name, "emulated": options.qemu}))
    elif report.wrong:
        case, name = report.wrong[0]
        print(f"{folder.board.name} {where}: {len(report.wrong)} outputs differ, the first is {name} of case {case}")
    else:
        left = _left_early(built.get("exits", []), outputs)
        print(f"{folder.board.name} {where}: {report.cases} golden cases equal bit for bit{left}")
    return FAILED if report.wrong else 0


def _left_early(exits: Sequence[Mapping[str, Any]], outputs: Mapping[str, Array]) -> str:
    """Of a project with early exits: how many of the golden cases took each."""
    counts = [(e["name"], int((outputs[e["said"]] == e["number"]).sum())) for e in exits]
    return "; " + ", ".join(f"{count} left by {name}" for name, count in counts) if counts else ""
