"""``multigraft demo``: the whole job on networks that ship with multigraft, for pictures or for sounds."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.missed_budget import add_allow_miss, missed_name, misses_of, refuse
from multigraft.cli.shared.settings_options import use_one_thread


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    use_one_thread()
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("demo-out"), metavar="FOLDER", help="default: demo-out"
    )
    parser.add_argument(
        "--sounds", action="store_true", help="two keyword networks on synthetic words, in place of three for pictures"
    )
    add_allow_miss(parser)


def execute(options: argparse.Namespace) -> int:
    """Build, measure, print one table, and write bundle, pictures, page and summary.json into the folder.

    Raises:
        BudgetError: The bundle misses the budget; it lies in the folder under a name that says so.
    """
    from multigraft.cli.shared.build_results import write_results
    from multigraft.cli.shared.printed_summary import print_summary
    from multigraft.cli.shared.settings_options import check_output, load_frames
    from multigraft.converters.build import build
    from multigraft.converters.demo.data import demo_folder
    from multigraft.converters.job.progress import terminal_report
    from multigraft.converters.settings.settings import Settings
    from multigraft.errors import UsageError

    folder: Path = options.output
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", "name a folder with -o")
    # The folders above it are made, too.
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    check_output(there / f"{folder.name}.graft")
    name = "sounds" if options.sounds else "demo"
    source = "FRAMES"
    settings = Settings.read(demo_folder() / ("sounds.toml" if options.sounds else "multigraft.toml"))
    if options.sounds:
        from multigraft.converters.demo.sounds import sentence, write_clips, write_wav

        source = str(folder / "sentence.wav")
        settings = dataclasses.replace(settings, frames=write_clips(folder / "sounds").absolute())
        write_wav(Path(source), sentence())
    settings.check()
    with terminal_report() as report:
        built = build(settings, load_frames, report, separate=True)
        folder.mkdir(parents=True, exist_ok=True)
        misses = misses_of(settings, built, report)
        output = folder / f"{name}.graft"
        bundle = built.bundle.write(missed_name(output) if misses and not options.allow_miss else output)
        summary = write_results(settings, built, bundle, folder, report, misses=misses)
    if options.json:
        print(json_text(summary.to_json(), indent=1))
    else:
        print_summary(summary)
        print(f"\n{bundle}: run it with: multigraft run {bundle} --source {source}")
        print(f"{folder / 'report.html'}: open it in a browser")
    refuse(bundle, output, misses)
    return 0
