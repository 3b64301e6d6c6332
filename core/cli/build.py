"""``multigraft build``: the whole job, from a settings file to a bundle and its report."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.shared.settings_options import (
    add_settings_arguments,
    check_folder,
    check_output,
    load_frames,
    read_settings,
)
from multigraft.errors import MultigraftError

if TYPE_CHECKING:
    from multigraft.converters.build import Built
    from multigraft.converters.report.summary import Summary
    from multigraft.converters.settings.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_settings_arguments(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: NAME.graft in this folder")
    parser.add_argument(
        "--precision", choices=("int8", "float32", "dynamic", "int4"), help="of weights and activations"
    )
    parser.add_argument(
        "--keep-float", action="append", default=[], metavar="LAYER", help="a layer that stays float32; may be repeated"
    )
    parser.add_argument(
        "--report-dir",
        type=Path,
        metavar="FOLDER",
        help="also convert the networks apart, measure both, and write summary.json, report.html and plots there",
    )


def execute(options: argparse.Namespace) -> int:
    """Build, write the bundle, and print what it keeps and costs, or with ``--json`` the summary."""
    settings = read_settings(options)
    convert = dataclasses.replace(
        settings.convert,
        precision=options.precision or settings.convert.precision,
        keep_float=(*settings.convert.keep_float, *options.keep_float),
    )
    settings = dataclasses.replace(settings, convert=convert)
    settings.check()
    output = options.output or Path(f"{settings.bundle.name}.graft")
    check_output(output)
    if options.report_dir is not None:
        check_folder(options.report_dir)
    from multigraft.cli.shared.build_results import write_results
    from multigraft.cli.shared.printed_summary import print_summary
    from multigraft.converters.build import build
    from multigraft.converters.job.checkpoints import Checkpoints
    from multigraft.converters.job.progress import terminal_report

    checkpoints = Checkpoints(output.with_name(f"{output.name}.steps"))
    with checkpoints.cleared_after(MultigraftError), terminal_report() as report:
        built = build(settings, load_frames, report, separate=options.report_dir is not None, checkpoints=checkpoints)
        built.bundle.write(output)
        if options.report_dir is None:
            summary = _unmeasured(settings, built, output)
        else:
            summary = write_results(settings, built, output, options.report_dir, report)
    if options.json:
        print(json.dumps({"output": str(output), **summary.to_json()}, indent=1))
    else:
        print_summary(summary)
        print(f"\nWrote {output}" + (f" and {options.report_dir / 'report.html'}" if options.report_dir else "") + ".")
    return 0


def _unmeasured(settings: Settings, built: Built, output: Path) -> Summary:
    from multigraft.converters.report import summarise
    from multigraft.converters.report.summary import MachineResult, Pair

    nothing = summarise.Measured(Pair(), {}, Pair(), None, "multigraft bench measures it", MachineResult(""))
    size = output.stat().st_size
    return dataclasses.replace(summarise.summarise(settings, built, nothing, {}, {}, Path(), size), machine=None)
