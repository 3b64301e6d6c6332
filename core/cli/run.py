"""``multigraft run``: answers on frames, one line of JSON each; or a table, a COCO file, pictures, events."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.offloading.offload_options import (
    add_offload_arguments,
    add_sends_argument,
    offloading_of,
    tell_ends,
)
from multigraft.cli.shared.answer_output import FORMATS, MOST_PICTURES, Pictures, answer_writer
from multigraft.cli.shared.broker_told import broker_told
from multigraft.cli.shared.bundle_sources import add_source_argument, open_bundle_source
from multigraft.cli.shared.engine_options import add_engine_arguments, open_engine
from multigraft.cli.shared.live_page import add_show_arguments, live_page
from multigraft.cli.shared.mqtt_options import add_broker_arguments, add_topic_arguments, broker_of
from multigraft.cli.shared.own_decoding import own_formats
from multigraft.cli.shared.quiet_options import add_quiet_arguments, rule_of
from multigraft.cli.shared.trust import add_trust_argument
from multigraft.cli.shared.watched import watched
from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.devices.cameras.camera import Camera
    from multigraft.runtime.answers import Answer

_Step = Callable[[Mapping[str, "Answer"]], "dict[str, Answer]"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_engine_arguments(parser)
    add_source_argument(parser)
    parser.add_argument("--frames", type=int, metavar="N", help="stop after N frames (default: when the source ends)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="jsonl",
        help="a line of JSON per frame, a COCO results list, or a table with a row per answer (default: jsonl)",
    )
    parser.add_argument(
        "--decode",
        action="append",
        default=[],
        metavar="TASK=MODULE:FUNCTION",
        help="a function of the current folder makes this task's answer (docs/answers.md); needs --trust-code",
    )
    add_trust_argument(parser)
    parser.add_argument(
        "--coco",
        type=Path,
        metavar="FILE",
        help="with --format coco: number pictures and classes as this COCO file does (annotations, .json)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there in place of standard output")
    parser.add_argument(
        "--draw",
        type=Path,
        metavar="FOLDER",
        help=f"write each frame with its answers there as PNG; without --frames {MOST_PICTURES} at most",
    )
    parser.add_argument("--force", action="store_true", help="draw into a folder that holds files, too")
    add_quiet_arguments(parser)
    parser.add_argument("--track", action="store_true", help="follow things over frames: each detection gets an id")
    parser.add_argument(
        "--events", action="store_true", help="print a line when something appears or vanishes, and nothing else"
    )
    add_offload_arguments(parser)
    add_sends_argument(parser)
    add_show_arguments(parser)
    add_broker_arguments(parser)
    add_topic_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Print ``{"frame", "file" (images only), "answers", "latency_us"}`` per frame, as soon as it is answered."""
    from multigraft.cli.shared.coco_ids import CocoIds
    from multigraft.devices.cameras.sources import is_up
    from multigraft.runtime import heap
    from multigraft.runtime.frames import frame_of

    if options.frames is not None and options.frames < 1:
        raise UsageError(f"--frames is {options.frames}", "give at least 1")
    if options.events and options.format != "jsonl":
        raise UsageError(f"events have no form as {options.format}", "leave --format out")
    if options.coco is not None and options.format != "coco":
        raise UsageError(f"--coco {options.coco} belongs to --format coco", "add it, or leave --coco out")
    is_watched = options.show or broker_of(options) is not None
    engine, tasks = open_engine(options, own_formats(options.decode, options.trust_code))
    ids = CocoIds(engine.manifest, options.coco)
    bases = {task.name: task.on.task for task in engine.manifest.tasks if task.on is not None}
    offloading = offloading_of(options, engine, tasks)
    steps = _filters(options, [task.name for task in engine.manifest.tasks], bases)
    camera = open_bundle_source(options.source, engine.manifest, tasks, _guarded)
    if engine.self_test is not None and not engine.self_test.exact:
        print(f"multigraft: self-test: {engine.self_test}", file=sys.stderr)
    files = getattr(camera, "files", ())
    drawn = Pictures(options.draw, options.force, files, options.frames is not None) if options.draw else None
    events = _events(options)
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(answer_writer(options.format, options.output, ids))
        stack.callback(_tell_dropped, camera)
        if offloading is not None:
            stack.callback(offloading.close)
            stack.callback(tell_ends, offloading)
        watch = stack.enter_context(watched(engine, tasks, is_watched))
        show = stack.enter_context(live_page(options, engine, camera.name, watch))
        tell = stack.enter_context(broker_told(options, engine, tasks, watch, lambda: is_up(camera)))
        stack.enter_context(camera)
        heap.settle()
        for number, frame in enumerate(camera):
            named = {"frame": number, **({"file": files[number].name} if files else {})}
            begun = time.monotonic()
            result = engine.run(frame, None if isinstance(frame, Mapping) else tasks)
            frames = {task: frame_of(task, frame, bases) for task in result.answers}
            told = {}
            if offloading is not None:
                result.answers, origins = offloading.improve(frames, result.answers, begun, result.exits)
                told = {"offload": {task: origin.to_json() for task, origin in origins.items()}}
            if watch is not None:
                watch.figures.answered(result)
            tell(result.answers)
            for step in steps:
                result.answers = step(result.answers)
            show(frames, result)
            if events is None:
                write(named, frames, result.answers, {**result.to_json(), **told})
            else:
                for event in events(result.answers):
                    write(named, frames, {}, event)
            if drawn is not None:
                drawn.write(named, frames, result.answers)
            if options.frames is not None and number + 1 >= options.frames:
                break
    return 0


def _guarded(camera: Camera) -> Camera:
    """A camera that is looked for again when it vanishes, which is told on standard error."""
    from multigraft.devices.cameras.returning import returned
    from multigraft.devices.cameras.sources import resilient

    def say(sentence: object) -> None:
        print(f"multigraft: {sentence}.", file=sys.stderr)

    return resilient(camera, report=say, returned=lambda: say(returned(camera.name)))


def _tell_dropped(camera: Camera) -> None:
    from multigraft.devices.cameras.sources import dropped_frames

    if dropped := dropped_frames(camera):
        print(f"multigraft: {dropped:,} frames were dropped, as answers took longer than the camera.", file=sys.stderr)


def _filters(options: argparse.Namespace, tasks: list[str], bases: dict[str, str]) -> list[_Step]:
    """What answers go through, in turn."""
    from multigraft.runtime.quiet.identities import Identities
    from multigraft.runtime.quiet.steady import Rule, Steady

    steps: list[_Step] = []
    rule = rule_of(options, Rule())
    if rule != Rule():
        steps.append(Steady(dict.fromkeys(tasks, rule), bases).step)
    if options.track:
        steps.append(Identities().step)
    return steps


def _events(options: argparse.Namespace) -> Callable[[Mapping[str, Answer]], list[dict[str, Any]]] | None:
    if not options.events:
        return None
    from multigraft.runtime.quiet.events import Events
    from multigraft.runtime.quiet.identities import KEPT_FRAMES

    return Events(max(options.steady or 0, KEPT_FRAMES if options.track else 0)).step
