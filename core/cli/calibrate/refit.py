"""``multigraft calibrate refit``: the refit on the device."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.shared.engine_options import add_interpreter_arguments
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.settings_options import check_output, use_one_thread

if TYPE_CHECKING:
    from multigraft.calibration.refit.refitting import OnRefitEvent, RefitEvent

PLAIN_EVERY_S = 10.0
EVENT_EVERY_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    # Depthwise layers are many systems of nine equations, for each of which threads of a busy board would wait.
    use_one_thread()
    from multigraft.calibration.defaults import ACCEPTED_FRAMES, REFIT_FRAMES
    from multigraft.devices.cameras.source_help import HELP
    from multigraft.statistics.minimum_frames import MINIMUM_FRAMES

    add = parser.add_argument
    add("plan", metavar="NAME.mgplan", help="the refit bundle that multigraft calibrate plan wrote")
    add("--source", required=True, metavar="FRAMES", help=HELP)
    add("-o", "--output", required=True, type=Path, metavar="NAME.mgrefit", help="the new weights to write")
    add(
        "--frames", type=int, default=REFIT_FRAMES, metavar="N",
        help=f"frames to solve each layer from (default: {REFIT_FRAMES})",
    )  # fmt: skip
    add(
        "--accept", type=int, default=ACCEPTED_FRAMES, metavar="N",
        help=f"further frames on which agreement is measured, at most (default: {ACCEPTED_FRAMES})",
    )  # fmt: skip
    add("--every", type=int, default=1, metavar="N", help="use one frame of N (default: every frame)")
    add(
        "--minimum-frames", type=int, default=MINIMUM_FRAMES, metavar="N",
        help=f"refuse to solve from fewer frames (default: {MINIMUM_FRAMES})",
    )  # fmt: skip
    add("--confidence", type=float, default=0.95, metavar="C", help="how sure the bound shall be (default: 0.95)")
    add_interpreter_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Refit, write the weights, print agreements; 130 if it was stopped, and the same command goes on."""
    from multigraft.bundle.bundle import Bundle
    from multigraft.calibration.refit.refitting import RefitOptions, refit_on_device
    from multigraft.cli.shared.bundle_sources import rows_of
    from multigraft.devices.cameras.sources import open_source

    output: Path = options.output
    check_output(output)
    settings = RefitOptions(
        options.frames, options.accept, options.minimum_frames, options.every, options.confidence,
        threads=options.threads, backend=options.backend,
    )  # fmt: skip
    plan = Bundle.open(options.plan)
    camera = open_source(options.source, rows_of(plan.manifest))
    refit = refit_on_device(plan, camera, output, settings, _show_refitting(options.json))
    if refit is None:
        if not options.json:
            print("stopped; the same command goes on")
        return 130
    if options.json:
        grafts = [
            {"task": g.target, "frames": g.frames, "layers": len(g.layers), "agreement": g.agreement}
            for g in refit.grafts
        ]
        print(json_text({"event": "done", "output": str(output), "grafts": grafts}))
        return 0
    for graft in refit.grafts:
        shown = "agreement not measured, there were no frames left"
        if graft.agreement is not None:
            shown = (
                f"agreement {graft.agreement['value']:.4f} (at least {graft.agreement['lower_bound']:.4f}) "
                f"on {graft.agreement['frames']:,} further frames"
            )
        print(f"{graft.target}: {len(graft.layers)} layers from {graft.frames:,} frames, {shown}")
    print(f"{output} ({output.stat().st_size:,} bytes); at home: multigraft build SETTINGS --refit {output.name}")
    return 0


def _show_refitting(as_json: bool) -> OnRefitEvent:
    last_s = -PLAIN_EVERY_S

    def show(event: RefitEvent) -> None:
        nonlocal last_s
        now = time.monotonic()
        if now - last_s < (EVENT_EVERY_S if as_json else PLAIN_EVERY_S):
            return
        last_s = now
        if as_json:
            print(json_text({"event": "progress", **vars(event)}), flush=True)
            return
        text = (
            f"pass {min(event.passes_done + 1, event.passes)} of {event.passes}, {event.target}: {event.layer}, "
            f"{event.frames:,} of {event.frames_wanted:,} frames"
        )
        print(text, file=sys.stderr, flush=True)

    return show
