"""``multigraft calibrate plan``: settings file to refit bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from multigraft.cli.shared.json_text import json_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    from multigraft.cli.shared.settings_options import add_settings_arguments

    add_settings_arguments(parser)
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="NAME.mgplan", help="the refit bundle to write"
    )


def execute(options: argparse.Namespace) -> int:
    """Choose share points and channels, convert donors, originals and what is solved anew, write the bundle."""
    from multigraft.cli.shared.bundle_sources import example_source, rows_of
    from multigraft.cli.shared.settings_options import check_output, load_frames, read_settings

    settings = read_settings(options)
    check_output(options.output)
    from multigraft.converters.conversion.work_folder import work_folder
    from multigraft.converters.job.progress import terminal_report
    from multigraft.converters.plan_refit import plan_refit

    with terminal_report() as report, work_folder() as folder:
        planned = plan_refit(settings, load_frames, folder, report)
    bundle, joins = planned.bundle, planned.joins
    bundle.write(options.output)
    thinned = {t.network.name: (t.network, t.narrow) for t in planned.thinnings}
    if options.json:
        shares = {
            j.target: {"donor": j.donor, "layer": j.donor_point.label, "method": j.method, "cka": j.cka} for j in joins
        }
        widths = {
            name: {"weights": [was.weights, now.weights], "macs": [was.macs, now.macs]}
            for name, (was, now) in thinned.items()
        }
        size = options.output.stat().st_size
        print(json_text({"output": str(options.output), "bytes": size, "shares": shares, "thinned": widths}))
        return 0
    for join in joins:
        alike = "" if join.cka is None else f", CKA {join.cka:.3f}"
        print(f"{join.target} on {join.donor} up to {join.donor_point.label} ({join.method}{alike})")
    for name, (was, now) in thinned.items():
        left = 100 * now.weights / was.weights, 100 * now.macs / max(was.macs, 1)
        print(f"{name} alone, thinned to {left[0]:.0f} % of its weights and {left[1]:.0f} % of its MACs")
    source = example_source(rows_of(bundle.manifest))
    print(
        f"{options.output} ({options.output.stat().st_size:,} bytes); on the device run: "
        f"multigraft calibrate refit {options.output.name} --source {source} -o site.mgrefit"
    )
    return 0
