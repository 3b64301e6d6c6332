"""``multigraft calibrate collect``: statistics from a camera."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.shared.engine_options import add_interpreter_arguments
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.settings_options import check_output, use_one_thread
from multigraft.errors import UsageError
from multigraft.reading import printable

if TYPE_CHECKING:
    from multigraft.calibration.collect.collect_events import Gathered
    from multigraft.statistics.noise import Privacy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    # Products are so small here that threads only wait for each other, and take the processor from the networks.
    use_one_thread()
    from multigraft.calibration.collect.collect_options import CollectOptions
    from multigraft.calibration.collect.selection_rule import SelectionRule
    from multigraft.devices.cameras.source_help import HELP
    from multigraft.statistics.noise import DELTA

    default, rule = CollectOptions(), SelectionRule()
    add = parser.add_argument
    add("taps", metavar="NAME.mgtaps", help="the taps bundle that multigraft calibrate prepare wrote")
    add("--source", required=True, metavar="FRAMES", help=HELP)
    add(
        "-o", "--output", required=True, type=Path, metavar="NAME.mgstats",
        help="the statistics to write; those of what TASK found go beside them, as NAME.TASK.mgstats",
    )  # fmt: skip
    add("--site", help="where the device stands (default: the output's name)")
    add("--minutes", type=float, metavar="M", help="stop after M minutes of collecting, all runs together")
    add("--frames", type=int, metavar="N", help="stop at N frames, all runs together")
    add("--precision", type=float, metavar="P", help="stop when every CKA is known to ±P (95 %% interval)")
    add("--every", type=int, default=rule.every, metavar="N", help="use one frame of N (default: every frame)")
    add("--interval", type=float, default=rule.interval_s, metavar="S", help="use a frame every S seconds at most")
    add(
        "--min-difference", type=float, metavar="D",
        help="skip a frame whose mean grey differs by less than D of 255, or a row by less than D / 255 of its largest "
        f"number (default: {rule.min_difference:g}; with --epsilon: 0)",
    )  # fmt: skip
    add("--minibatch", type=int, default=default.minibatch, metavar="N", help=f"default: {default.minibatch}")
    add(
        "--memory-mib", type=int, default=default.memory_bytes >> 20, metavar="M",
        help=f"for representations (default: {default.memory_bytes >> 20}); if that is too little, samples get smaller",
    )  # fmt: skip
    add(
        "--features", type=int, default=default.features, metavar="N",
        help=f"numbers per random sample of a large tap; more cost time and settle CKA sooner (default: "
        f"{default.features})",
    )  # fmt: skip
    add(
        "--minimum-frames", type=int, default=default.minimum_frames, metavar="N",
        help=f"every number of the file sums over at least N frames (default: {default.minimum_frames})",
    )  # fmt: skip
    add(
        "--epsilon", type=float, metavar="E",
        help="add noise, so that the file is (E, D)-differentially private for every frame; it then holds CKA alone "
        "(default: no noise)",
    )  # fmt: skip
    add("--delta", type=float, metavar="D", help=f"with --epsilon (default: {DELTA:g})")
    add(
        "--keep-frames", type=int, default=0, metavar="N",
        help="store the N most uncertain frames in OUTPUT.frames (default: none is stored)",
    )  # fmt: skip
    add("--keep-mib", type=int, default=default.keep_bytes >> 20, metavar="M", help="quota for them (default: 256)")
    add("--keep-days", type=float, default=default.keep_days, metavar="D", help="remove them after D days (default: 7)")
    add(
        "--keep-entropy", metavar="LOW,HIGH",
        help="keep a frame only where the entropy of its answer, over the greatest there is, lies between: 0.3,0.9",
    )  # fmt: skip
    add(
        "--keep-daily-mib", type=float, metavar="M",
        help="keep M MiB at most in any 24 hours, for frames that are taken elsewhere; none gives way to another then",
    )  # fmt: skip
    add_interpreter_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Collect until something ends it, write the file, say what to do next."""
    from multigraft.bundle.bundle import Bundle
    from multigraft.calibration.collect.collect_options import CollectOptions
    from multigraft.calibration.collect.collector import collect
    from multigraft.calibration.collect.live_view import show_collecting
    from multigraft.calibration.collect.selection_rule import SelectionRule
    from multigraft.cli.shared.bundle_sources import rows_of
    from multigraft.devices.cameras.sources import open_source
    from multigraft.statistics.noise import DELTA, Privacy

    output: Path = options.output
    check_output(output)
    if options.delta is not None and options.epsilon is None:
        raise UsageError("--delta goes with --epsilon", "give both, or none")
    privacy = (
        None if options.epsilon is None else Privacy(options.epsilon, DELTA if options.delta is None else options.delta)
    )
    difference = options.min_difference
    if difference is None:
        difference = SelectionRule().min_difference if privacy is None else 0.0
    settings = CollectOptions(
        frames=options.frames,
        minutes=options.minutes,
        precision=options.precision,
        site=options.site or output.name.removesuffix(".mgstats"),
        minibatch=options.minibatch,
        memory_bytes=options.memory_mib << 20,
        features=options.features,
        minimum_frames=options.minimum_frames,
        rule=SelectionRule(difference, options.interval, options.every),
        privacy=privacy,
        keep_frames=options.keep_frames,
        keep_bytes=options.keep_mib << 20,
        keep_days=options.keep_days,
        keep_entropy=_band(options.keep_entropy),
        keep_daily_bytes=None if options.keep_daily_mib is None else options.keep_daily_mib * (1 << 20),
        threads=options.threads,
        backend=options.backend,
    )
    bundle = Bundle.open(options.taps)
    camera = open_source(options.source, rows_of(bundle.manifest))
    with show_collecting(settings, options.json) as report:
        done = collect(bundle, camera, output, settings, report)
    whole = done.gathered[0]
    frames = whole.statistics.frames
    if options.json:
        result: dict[str, object] = {
            "event": "done", "reason": done.reason, "frames": frames, "used": done.used, "skipped": done.skipped,
            **_released(whole),
        }  # fmt: skip
        if privacy is not None:
            result |= {"epsilon": privacy.epsilon, "delta": privacy.delta}
        if len(done.gathered) > 1:
            result["crops"] = [
                {
                    "on": one.view.crops[-1].task, "tasks": one.view.tasks, "frames": one.statistics.frames,
                    "crops": one.statistics.crops, **_released(one),
                }
                for one in done.gathered[1:]
            ]  # fmt: skip
        print(json_text(result))
        return 0
    together = sum(one.statistics.frames for one in done.gathered)
    print(f"{done.reason}: {together:,} frames, {done.used:,} of them now, {done.skipped:,} skipped")
    for one in done.gathered:
        if one.view.crops:
            crops, on, of = one.statistics.crops, one.view.crops[-1].task, one.statistics.frames
            print(f"{', '.join(one.view.tasks)}: {crops:,} crops of what {on} found, in {of:,} frames")
        elif len(done.gathered) > 1:
            print(f"{', '.join(one.view.tasks)}: {frames:,} whole frames")
        _tell(one, privacy)
    return 0


def _released(one: Gathered) -> dict[str, object]:
    return {
        "output": None if one.path is None else str(one.path), "release": one.release.number,
        "released_frames": one.release.frames, "missing": one.missing,
    }  # fmt: skip


def _tell(one: Gathered, privacy: Privacy | None) -> None:
    """What became of a file."""
    from multigraft.calibration.collect.collect_options import store_of

    frames = " frames that hold some" if one.view.crops else ""
    if one.path is None:
        print(
            f"too few for a file yet: about {one.missing:,} more{frames} are needed (kept in {store_of(one.output)}); "
            "the same command goes on"
        )
        return
    release = f"release {one.release.number}, {one.release.frames:,} frames, {one.path.stat().st_size:,} bytes"
    if privacy is not None:
        release += f", ({privacy.epsilon:g}, {privacy.delta:g})-differentially private for every frame"
    if one.missing:
        print(f"{one.path} stays {release}: the next needs about {one.missing:,} more; the same command goes on")
    else:
        print(f"{one.path} ({release}); the same command with other limits goes on")


def _band(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--keep-entropy is {printable(text)}", "give two numbers of 0 to 1: 0.3,0.9") from None
    return low, high
