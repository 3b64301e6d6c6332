"""``multigraft learn``: say what frames are, and let a device solve its last layer anew."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.shared.board_options import add_timeout_argument, timeout_s
from multigraft.cli.shared.json_text import json_text
from multigraft.errors import InputError, UsageError

if TYPE_CHECKING:
    from multigraft.devices.target.target import Target
    from multigraft.tensors.arrays import Array

_LARGEST_FILE = 16 << 20
_FIELDS = {"digest", "identity", "sums"}


@dataclass(frozen=True)
class _Kept:
    """What a file of ``--save`` holds: the model's digest, which firmware of it, and the sums."""

    digest: str
    identity: int
    sums: bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from multigraft.devices.cameras.source_help import HELP

    parser.add_argument("bundle", nargs="?", help="the .graft file, which says how frames of --source are prepared")
    parser.add_argument("--port", required=True, help="serial port of the board")
    add_timeout_argument(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--label", type=int, metavar="CLASS", help="the frames are of this class, counted from 0")
    what.add_argument(
        "--keep", action="store_true", help="the frames are of classes known before, and to be answered as before"
    )
    parser.add_argument("--source", metavar="FRAMES", help=f"frames that are sent to the board: {HELP}")
    parser.add_argument(
        "--count",
        type=int,
        metavar="N",
        help="no more than so many frames of --source; without it, so many of the board's own camera or sensor",
    )
    parser.add_argument("--forget", action="store_true", help="forget first what was learnt")
    parser.add_argument("--restore", type=Path, metavar="FILE", help="put back what --save kept")
    parser.add_argument("--solve", action="store_true", help="solve the layer from all frames that were learnt")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep what was learnt, which is gone with the power")


def execute(options: argparse.Namespace) -> int:
    """Run it; returns the exit code."""
    from multigraft.devices.target.board_learner import BoardLearner
    from multigraft.devices.target.serial_link import SerialLink
    from multigraft.devices.target.target import Target
    from multigraft.serial_protocol import KEEP

    has_label = options.keep or options.label is not None
    if has_label != (options.source is not None or options.count is not None):
        raise UsageError(
            "frames need a class, and a class needs frames", "give --label or --keep, and --source or --count"
        )
    if (options.source is None) != (options.bundle is None):
        raise UsageError(
            "frames are prepared as a bundle says", "name the bundle where there is --source, and only there"
        )
    if options.count is not None and options.count < 1:
        raise UsageError(f"--count {options.count} is no number of frames", "give 1 or more")
    if options.label is not None and not 0 <= options.label < KEEP:
        raise UsageError(f"there is no class {options.label}", "count classes from 0 on")
    kept = _read(options.restore) if options.restore is not None else None
    with SerialLink(options.port) as link:
        target = Target(link, timeout_s=timeout_s(options))
        learner = BoardLearner(target)
        label = options.label if options.label is not None else KEEP
        state = learner.state(label)
        if kept is not None and kept.digest != target.info.digest:
            raise UsageError(
                f"{options.restore} was learnt by another model than that of the device at {target.name}",
                "flash that project, or let it learn anew",
            )
        if kept is not None:
            learner.check_sums(kept.sums, kept.identity, state)
        given = _frames(target, options, state.task) if has_label else iter(())
        # What can be wrong with all that was given has been said: from here on the device forgets.
        if options.forget:
            learner.forget()
        if kept is not None:
            learner.put_back(kept.sums, kept.identity, state)
        seen = 0
        for frame in given:
            _answer(target, frame, state.task)
            state = learner.learn(label)
            seen += 1
        cycles, latency_us = learner.solve() if options.solve else (0, 0)
        if options.save is not None:
            _write(options.save, _Kept(target.info.digest, state.identity, learner.sums()))
        frames = learner.state().frames
    told = {"task": state.task, "classes": state.classes, "learnt": seen, "frames": frames, "solved": options.solve}
    if options.json:
        print(json_text({**told, "cycles": cycles, "latency_us": latency_us}))
        return 0
    print(f"{state.task}: {seen} frames learnt, {frames} in all of {state.most_frames}")
    if options.solve:
        print(f"solved in {cycles} cycles, {latency_us} us")
    return 0


def _frames(target: Target, options: argparse.Namespace, task: str) -> Iterator[dict[str, Array] | None]:
    """Frames as the device takes them, the first of which has been read; None for each of its own."""
    if options.source is None:
        return itertools.repeat(None, options.count)
    from multigraft.bundle.bundle import Bundle
    from multigraft.cli.firmware.prepared_frames import prepared_frames
    from multigraft.files import sha256_of
    from multigraft.serial_protocol import name_on_device

    bundle = Bundle.open(options.bundle)
    whole = bundle.fallback()
    if target.info.digest not in {sha256_of(b.model) for b in (bundle, whole) if b is not None}:
        raise UsageError(
            f"the device at {target.name} runs another model than that of {options.bundle}, and may take other frames",
            "name the bundle that its firmware was generated from",
        )
    whose = next((t.name for t in bundle.manifest.tasks if name_on_device(t.name) == task), task)
    prepared = prepared_frames(bundle, options.source, whose)
    frames = ({name_on_device(name): row for name, row in inputs.items()} for inputs in prepared)
    return itertools.islice(itertools.chain([*itertools.islice(frames, 1)], frames), options.count)


def _answer(target: Target, frame: dict[str, Array] | None, task: str) -> None:
    """Let the device answer a frame that is sent, or one of its own."""
    if frame is not None:
        target.infer(frame, [task])
        return
    for _ in target.stream(1, [task]):
        pass


def _write(path: Path, kept: _Kept) -> None:
    import numpy as np

    from multigraft import files
    from multigraft.npz import npz_bytes

    held = {"digest": bytes.fromhex(kept.digest), "identity": kept.identity.to_bytes(4, "little"), "sums": kept.sums}
    files.write_bytes(path, npz_bytes({name: np.frombuffer(data, np.uint8) for name, data in held.items()}))


def _read(path: Path) -> _Kept:
    from multigraft.npz import read_npz
    from multigraft.reading import read_file

    try:
        held = read_npz(read_file(path, _LARGEST_FILE))
    except ValueError as error:
        why = error.problem if isinstance(error, InputError) else f"{path} is damaged ({error})"
        raise InputError(why, "name a file that --save wrote") from error
    if set(held) != _FIELDS or any(array.dtype != "uint8" or array.ndim != 1 for array in held.values()):
        raise InputError(f"{path} is nothing that was learnt", "name a file that --save wrote")
    identity = int.from_bytes(held["identity"].tobytes(), "little")
    return _Kept(held["digest"].tobytes().hex(), identity, held["sums"].tobytes())
