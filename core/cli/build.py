"""``multigraft build``: the whole job, from a settings file to a bundle and its report."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.offloading.choice_table import choices_to_json, print_choices
from multigraft.cli.offloading.split_options import add_split_arguments, split_settings, splitting_server, write_tails
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.missed_budget import add_allow_miss, missed_name, misses_of, refuse
from multigraft.cli.shared.settings_options import (
    MIXED,
    add_settings_arguments,
    add_weights,
    asked_agreement,
    check_folder,
    check_output,
    load_frames,
    of_precision,
    read_settings,
)
from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.converters.build import Built
    from multigraft.converters.graft.missed_budget import Miss
    from multigraft.converters.report.summary import Summary
    from multigraft.converters.settings.exit_settings import ExitSettings
    from multigraft.converters.settings.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_settings_arguments(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: NAME.graft in this folder")
    parser.add_argument(
        "--precision",
        choices=("int8", "float32", "dynamic", "int4", "binary", "binary-int8", MIXED),
        help="of weights and activations; mixed: int8 with --weights auto",
    )
    add_weights(parser)
    parser.add_argument(
        "--keep-float", action="append", default=[], metavar="LAYER", help="a layer that stays float32; may be repeated"
    )
    add_allow_miss(parser)
    parser.add_argument(
        "--exits", choices=("none", "auto"), help="whether classifications may answer early, see docs/exits.md"
    )
    parser.add_argument(
        "--max-disagreement",
        type=float,
        metavar="SHARE",
        help="of the frames that exit, those whose answer is not that of the whole network: 0.01",
    )
    add_split_arguments(parser)
    parser.add_argument(
        "--report-dir",
        type=Path,
        metavar="FOLDER",
        help="also convert the networks apart, measure both, and write summary.json, report.html and plots there",
    )
    parser.add_argument(
        "--on",
        metavar="CLUSTER",
        help="where grafts are evaluated: dask (processes of this machine) or dask://HOST:PORT (a scheduler); default: "
        "this process",
    )


def execute(options: argparse.Namespace) -> int:
    """Build, write the bundle, and print what it keeps and costs, or with ``--json`` the summary.

    The bundle is written before anything is compared or drawn, so that nothing which fails there loses it.

    Raises:
        BudgetError: It misses the budget; it lies beside the output then.
    """
    settings = read_settings(options)
    precision, weights = of_precision(options.precision or settings.convert.precision, options.weights)
    convert = dataclasses.replace(
        settings.convert,
        precision=precision,
        weights=weights or settings.convert.weights,
        keep_float=(*settings.convert.keep_float, *options.keep_float),
        fallback=settings.convert.fallback and not options.no_fallback,
    )
    least = asked_agreement(options, settings.budget.min_agreement)
    budget = dataclasses.replace(settings.budget, min_agreement=least)
    settings = dataclasses.replace(
        settings,
        convert=convert,
        budget=budget,
        exits=_exits(options, settings),
        offload=split_settings(options, settings.offload),
    )
    settings.check()
    output = options.output or Path(f"{settings.bundle.name}.graft")
    check_output(output)
    check_output(missed_name(output))
    if options.report_dir is not None:
        check_folder(options.report_dir)
    server = splitting_server(options, settings.offload)
    from multigraft.cli.shared.build_results import write_results
    from multigraft.cli.shared.printed_summary import print_summary
    from multigraft.converters.build import build, with_separate
    from multigraft.converters.job.checkpoints import SUFFIX, Checkpoints
    from multigraft.converters.job.progress import terminal_report
    from multigraft.converters.job.workers import workers_of
    from multigraft.converters.packing.lowering import check_kernels

    check_kernels(settings.convert.weights)
    checkpoints = Checkpoints(output.with_name(output.name + SUFFIX))
    with checkpoints.cleared_on_success():
        with terminal_report() as report:
            with workers_of(options.on) as workers:
                built = build(settings, load_frames, report, checkpoints=checkpoints, server=server, workers=workers)
            misses = misses_of(settings, built, report)
            written = built.bundle.write(missed_name(output) if misses and not options.allow_miss else output)
            served = write_tails(options, built, report)
            if options.report_dir is None:
                summary = _unmeasured(settings, built, written, misses)
            else:
                built = with_separate(settings, built, report, checkpoints=checkpoints)
                summary = write_results(settings, built, written, options.report_dir, report, misses=misses)
        if options.json:
            splits = {"offload": choices_to_json(built.splits)} if built.splits else {}
            print(json_text({"output": str(written), **summary.to_json(), **splits}, indent=1))
        else:
            print_summary(summary)
            print_choices(built.splits, served)
            page = options.report_dir and options.report_dir / "report.html"
            print(f"\nWrote {written}" + (f" and {page}" if page and page.is_file() else "") + ".")
        refuse(written, output, misses)
    return 0


def _exits(options: argparse.Namespace, settings: Settings) -> ExitSettings:
    share = options.max_disagreement
    if share is not None and not 0 < share < 0.5:
        raise UsageError(f"--max-disagreement is {share:g}", "give a number above 0 and below 0.5")
    place = options.exits or settings.exits.place
    if share is not None and place == "none":
        raise UsageError("--max-disagreement is of exits, and there are none", "give --exits auto as well")
    return dataclasses.replace(
        settings.exits, place=place, max_disagreement=settings.exits.max_disagreement if share is None else share
    )


def _unmeasured(settings: Settings, built: Built, written: Path, misses: Sequence[Miss]) -> Summary:
    from multigraft.converters.report import summarise

    nothing = summarise.nothing_measured("multigraft bench measures it")
    size = written.stat().st_size
    summary = summarise.summarise(settings, built, nothing, {}, {}, Path(), size, misses)
    return dataclasses.replace(summary, machine=None)
