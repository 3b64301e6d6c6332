"""``multigraft calibrate validate``: agreement of a bundle with the originals, on the device."""

from __future__ import annotations

import argparse
from pathlib import Path

from multigraft.cli.shared.engine_options import add_interpreter_arguments
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.settings_options import check_output
from multigraft.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    from multigraft.calibration.defaults import VALIDATED_FRAMES
    from multigraft.cli.shared.bundle_sources import add_source_argument

    add = parser.add_argument
    add("bundle", metavar="home.graft", help="the bundle to judge")
    add("--against", required=True, metavar="NAME.mgtaps", help="the taps bundle of the original networks")
    add_source_argument(parser)
    add("-o", "--output", type=Path, metavar="NAME.json", help="also write the result as JSON")
    add(
        "--frames", type=int, default=VALIDATED_FRAMES, metavar="N",
        help=f"at most N frames (default: {VALIDATED_FRAMES})",
    )  # fmt: skip
    add("--confidence", type=float, default=0.95, metavar="C", help="how sure the bounds shall be (default: 0.95)")
    add("--min-agreement", type=float, metavar="A", help="exit with 1 if a task's lower bound is below A")
    add(
        "--tolerance", action="append", default=[], metavar="TASK=T",
        help="what still counts as equal, in units of the output (detection: IoU)",
    )  # fmt: skip
    add_interpreter_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Run both on the same frames, print and write agreements; 1 if a bound is below --min-agreement."""
    from multigraft import files
    from multigraft.bundle.bundle import Bundle
    from multigraft.calibration.validation import validate
    from multigraft.cli.shared.bundle_sources import open_bundle_source
    from multigraft.cli.shared.table import print_table

    if options.output is not None:
        check_output(options.output)
    bundle, original = Bundle.open(options.bundle), Bundle.open(options.against)
    known = {task.name for task in original.manifest.tasks}
    tasks = [task.name for task in bundle.manifest.tasks if task.name in known]
    validation = validate(
        bundle,
        original,
        open_bundle_source(options.source, bundle.manifest, tasks or None),
        frames=options.frames,
        confidence=options.confidence,
        tolerances=dict(map(_tolerance, options.tolerance)),
        threads=options.threads,
        backend=options.backend,
    )
    data = validation.to_json()
    if options.output is not None:
        files.write_bytes(options.output, (json_text(data, indent=1) + "\n").encode())
    if options.json:
        print(json_text(data))
    else:
        rows = [
            [name, f"{100 * a.value:.2f} %", f"{100 * a.lower_bound:.2f} %", f"{a.frames:,}", a.rule]
            for name, a in validation.tasks.items()
        ]
        print_table(
            "Agreement with the original networks",
            ["task", "agreement", f"at least ({100 * options.confidence:g} %)", "frames", "counted as"],
            rows,
        )
    below = [n for n, a in validation.tasks.items() if a.lower_bound < (options.min_agreement or 0)]
    return 1 if below else 0


def _tolerance(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise UsageError(f"--tolerance {text} is not of the form TASK=NUMBER", "write for instance pose=0.05") from None
