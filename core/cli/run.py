"""``multigraft run``: answers on frames, one line of JSON each."""

from __future__ import annotations

import argparse
import json
import sys

from multigraft.cli.shared.bundle_sources import add_source_argument, open_bundle_source
from multigraft.cli.shared.engine_options import add_engine_arguments, open_engine
from multigraft.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_engine_arguments(parser)
    add_source_argument(parser)
    parser.add_argument("--frames", type=int, metavar="N", help="stop after N frames (default: when the source ends)")


def execute(options: argparse.Namespace) -> int:
    """Print ``{"frame", "file" (images only), "answers", "latency_us"}`` per frame, as soon as it is answered."""
    if options.frames is not None and options.frames < 1:
        raise UsageError(f"--frames is {options.frames}", "give at least 1")
    engine, tasks = open_engine(options)
    camera = open_bundle_source(options.source, engine.manifest, tasks)
    if engine.self_test is not None and not engine.self_test.exact:
        print(f"multigraft: self-test: {engine.self_test}", file=sys.stderr)
    files = getattr(camera, "files", ())
    with camera:
        for number, frame in enumerate(camera):
            line = {"frame": number, **({"file": files[number].name} if files else {})}
            print(json.dumps({**line, **engine.run(frame, tasks).to_json()}), flush=True)
            if options.frames is not None and number + 1 >= options.frames:
                break
    return 0
