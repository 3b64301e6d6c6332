"""``multigraft calibrate prepare``: settings file to taps bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.shared.bundle_sources import example_source
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.settings_options import check_output
from multigraft.cli.shared.trust import add_trust_argument
from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.converters.settings.settings import Settings, TaskSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    parser.add_argument("settings", type=Path, help="the settings file, multigraft.toml (see docs/settings.md)")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="NAME.mgtaps", help="the taps bundle to write"
    )
    parser.add_argument(
        "--tasks",
        metavar="A,B",
        help="these tasks only, and those whose boxes they look at: tasks of one source, where "
        "others take frames of another kind",
    )
    add_trust_argument(parser)
    parser.add_argument(
        "--every-cut", action="store_true", help="also tap cut points that are wider than one before and one behind"
    )


def execute(options: argparse.Namespace) -> int:
    """Import the networks, convert them in float32, write the bundle."""
    from multigraft.converters.conversion.work_folder import work_folder
    from multigraft.converters.field.taps_bundle import make_taps_bundle, tapped_points
    from multigraft.converters.importing.importer import load_task
    from multigraft.converters.job.progress import terminal_report
    from multigraft.converters.settings.settings import Settings
    from multigraft.tensors.preparation import shared_row_shape

    check_output(options.output)
    settings = Settings.load(options.settings, trusts_code=options.trust_code)
    chosen = _chosen(settings, options.tasks)
    shape = shared_row_shape([task.preprocessing for task in chosen])
    networks = [load_task(task, settings.path.parent, trusts_code=settings.trusts_code) for task in chosen]
    with terminal_report() as report, work_folder() as folder:
        bundle = make_taps_bundle(networks, f"{settings.bundle.name}-taps", folder, report, is_every=options.every_cut)
    bundle.write(options.output)
    taps = {network.name: [point.name for point in tapped_points(network, options.every_cut)] for network in networks}
    if options.json:
        print(json_text({"output": str(options.output), "bytes": options.output.stat().st_size, "taps": taps}))
        return 0
    source = example_source(shape) + " --minutes 30" * (shape is None)
    for name, points in taps.items():
        print(f"{name}: {len(points)} taps")
    print(
        f"{options.output} ({options.output.stat().st_size:,} bytes); on the device run: "
        f"multigraft calibrate collect {options.output.name} --source {source} -o site.mgstats"
    )
    return 0


def _chosen(settings: Settings, names: str | None) -> tuple[TaskSettings, ...]:
    """Those named, and those whose boxes they look at."""
    by_name = {task.name: task for task in settings.tasks}
    wanted = {task.name: task for task in _named(settings, names)}
    for task in tuple(wanted.values()):
        while task.on is not None:
            task = by_name[task.on.task]
            wanted[task.name] = task
    return tuple(wanted.values())


def _named(settings: Settings, names: str | None) -> tuple[TaskSettings, ...]:
    if names is None:
        return settings.tasks
    by_name = {task.name: task for task in settings.tasks}
    wanted = [name.strip() for name in names.split(",")]
    if unknown := next((name for name in wanted if name not in by_name), None):
        raise UsageError(f"{settings.path} has no task {unknown!r}", f"choose from: {', '.join(by_name)}")
    return tuple(by_name[name] for name in wanted)
