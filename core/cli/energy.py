"""``multigraft energy``: joules per frame, part and task, idle power subtracted, with an error bound."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.bundle_sources import add_source_argument
from multigraft.cli.shared.engine_options import add_engine_arguments, open_engine
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.table import print_table
from multigraft.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from multigraft.devices.power.power import PowerMeter
    from multigraft.runtime import Engine
    from multigraft.runtime.energy.estimate import Estimate
    from multigraft.runtime.energy.measuring import Measured

SPLITS = ("shapley", "marginal", "by-use")
"""As :data:`multigraft.runtime.energy.attribution.SPLITS`, without what that loads."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from multigraft.devices.power.meter_help import HELP

    add_engine_arguments(parser, is_needed=False)
    add_source_argument(parser, "fake frames of the input's size")
    parser.add_argument("--minutes", type=float, default=2.0, metavar="N", help="how long it may take (default: 2)")
    parser.add_argument(
        "--error", type=float, default=3.0, metavar="PERCENT", help="stop when the bound is this narrow (default: 3)"
    )
    parser.add_argument("--meter", default="auto", metavar="NAME", help=f"what measures (default: auto): {HELP}")
    parser.add_argument(
        "--every",
        action="append",
        default=[],
        metavar="TASK=N",
        help="ask this task in one of N frames only; may be given once a task",
    )
    parser.add_argument(
        "--split", choices=SPLITS, default="shapley", help="who pays for what tasks share (default: shapley)"
    )
    parser.add_argument(
        "--single", action="store_true", help="a window for each inference, where the meter can tell it"
    )
    parser.add_argument(
        "--estimate",
        nargs="?",
        const="45nm",
        metavar="TABLE",
        help="estimate by multiply-accumulates and bytes as well: 45nm, or picojoules as in 5,160",
    )
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw the curve of power there")
    parser.add_argument(
        "--calibrate", metavar="METER", help="fit a Pi 5's power controller against this USB meter, and keep the fit"
    )


def execute(options: argparse.Namespace) -> int:
    """Measure and print, or with ``--json`` everything as one object; figures of a throttled run are refused."""
    if not 0 < options.minutes <= 24 * 60 or not 0 < options.error < 100:
        raise UsageError(
            f"--minutes {options.minutes:g} --error {options.error:g}", "give minutes above 0, and 0 to 100 percent"
        )
    if options.calibrate is not None:
        return _calibrate(options)
    if options.bundle is None:
        raise UsageError("there is no bundle", "name a .graft file, or give --calibrate METER")
    from multigraft.devices.power.meters import open_meter
    from multigraft.devices.thermal import ThrottlingWatch
    from multigraft.runtime.machine import Machine

    if options.picture is not None:
        from multigraft.runtime.drawing.pillow import pillow

        pillow()
    watch = ThrottlingWatch()
    meter, reason = open_meter(options.meter)
    engine, asked = open_engine(options)
    tasks = list(asked or (task.name for task in engine.manifest.tasks))
    every = _every(options.every)
    guess = _estimate(options.estimate, engine, tasks)
    measured = None if meter is None else _measure(options, engine, tasks, every, meter, watch)
    machine = Machine.here(engine.model.backend)
    report = {
        "bundle": str(options.bundle),
        "tasks": tasks,
        "every": every,
        "machine": machine.to_json(),
        "threads": options.threads,
        "measured": None if measured is None else measured.to_json(),
        "not_measured": reason,
        "estimate": None if guess is None else guess.to_json(),
    }
    if options.json:
        print(json_text(report, indent=1))
    else:
        print(f"{options.bundle} on {machine}, {options.threads} threads\n")
        _print_measured(measured, reason)
        _print_estimate(guess)
    if measured is not None and options.picture is not None:
        _draw(measured, options.picture)
    if measured is not None and not measured.is_valid:
        raise DeviceError(
            "these figures are invalid: the processor was slowed down or under-voltage meanwhile",
            "cool it, or give it a stronger power supply, and measure again",
        )
    return 0


def _every(texts: list[str]) -> dict[str, int]:
    found = {}
    for text in texts:
        task, _, number = text.rpartition("=")
        if not task or not (number.isascii() and number.isdigit()):
            raise UsageError(f"--every {text} is not understood", "write --every TASK=N, as in --every digit=5")
        found[task] = int(number)
    return found


def _measure(
    options: argparse.Namespace,
    engine: Engine,
    tasks: list[str],
    every: dict[str, int],
    meter: PowerMeter,
    watch: Any,
) -> Measured:
    from multigraft.cli.bench import MAX_FRAMES, first_frames
    from multigraft.runtime.energy.measuring import measure_bundle

    return measure_bundle(
        engine,
        first_frames(options.source, engine, tuple(tasks), MAX_FRAMES),
        tasks,
        meter,
        error=options.error / 100,
        seconds=options.minutes * 60,
        every=every,
        split=options.split,
        single=options.single,
        watch=watch,
    )


def _estimate(table: str | None, engine: Engine, tasks: list[str]) -> Estimate | None:
    if table is None:
        return None
    from multigraft.runtime.energy.estimate import estimate, table_of

    wanted = {name for task in tasks for name in engine.manifest.task(task).all_segments}
    segments = tuple(segment.name for segment in engine.manifest.segments if segment.name in wanted)
    return estimate(engine.manifest, segments, table_of(table))


def _print_measured(measured: Measured | None, reason: str) -> None:
    if measured is None:
        print(f"Energy: not measured: {reason}.")
        return
    from multigraft.runtime.energy.attribution import SHARED
    from multigraft.runtime.energy.figure import joules

    accuracy = measured.accuracy
    print(
        f"Meter: {measured.meter}, {accuracy.rate_hz:.4g} values a second, off by {accuracy.gain * 100:.3g} % at most; "
        f"{measured.idle_w:.3f} W idle."
    )
    print(
        f"Energy of a frame: {measured.frame}, idle subtracted, over {measured.frame.windows} windows of "
        f"{measured.frame.repetitions:,} inferences."
    )
    if not measured.is_reached:
        print(f"{measured.error * 100:g} % was not reached: {_why_wide(measured)}.")
    print()
    if not measured.parts:
        print(f"Parts and tasks: not measured; that takes about {measured.seconds_needed / 60:.1f} minutes.\n")
        return
    rows = [
        (str(part), f"{measured.uses[part]:g}", joules(figure.value_j), joules(figure.bound_j))
        for part, figure in measured.parts.items()
    ]
    print_table(
        "Parts of a frame",
        ("part", "runs per frame", "energy of a run", "±"),
        [*rows, ("between parts", "1", joules(measured.between_j), "")],
    )
    print_table(
        f"Tasks, per frame ({measured.split})",
        ("task", "energy", "±"),
        [
            ("(saved by none alone)" if task == SHARED else task, joules(share.energy_j), joules(share.bound_j))
            for task, share in measured.tasks.items()
        ],
    )


def _why_wide(measured: Measured) -> str:
    frame = measured.frame
    if frame.sensor_j > measured.error * abs(frame.value_j):
        return "the sensor itself may be off by more; use a better one, or ask for less with --error"
    return "give it more --minutes, or let nothing else run"


def _print_estimate(guess: Estimate | None) -> None:
    if guess is None:
        return
    from multigraft.runtime.energy.figure import joules

    print_table(
        f"Estimate, not measured (table {guess.table.name}: {guess.table.source})",
        ("segment", "estimated energy"),
        [*((name, joules(value)) for name, value in guess.segments_j.items()), ("frame", joules(guess.energy_j))],
    )


def _draw(measured: Measured, target: Path) -> None:
    from multigraft.files import whole_file
    from multigraft.runtime.energy.picture import draw_curve

    picture = draw_curve(measured.curve, measured.spans, f"{measured.meter}: {measured.frame} a frame")
    with whole_file(target) as temporary:
        picture.save(temporary, format="PNG")


def _calibrate(options: argparse.Namespace) -> int:
    from multigraft.devices.power.meters import open_meter
    from multigraft.devices.power.pmic_fit import kept_fit
    from multigraft.devices.power.pmic_meter import PmicMeter
    from multigraft.runtime.energy.calibration import calibrate

    reference, reason = open_meter(options.calibrate)
    if reference is None:
        raise UsageError(f"--calibrate {options.calibrate}: {reason}", "name a USB meter, as in tc66:/dev/ttyACM0")
    pmic, reason = PmicMeter.find()
    if pmic is None:
        raise DeviceError(reason or "this machine has no vcgencmd", "calibrate on a Raspberry Pi 5")
    fit = calibrate(pmic, reference, options.minutes * 60)
    fit.write(kept_fit())
    if options.json:
        print(json_text({"slope": fit.slope, "offset_w": fit.offset_w, "error": fit.error, "points": fit.points}))
    else:
        print(
            f"Watts of the board = {fit.slope:.4f} x rails + {fit.offset_w:.4f}, within {fit.error * 100:.2g} %, from "
            f"{fit.points} pairs of readings; kept in {kept_fit()}."
        )
    return 0
