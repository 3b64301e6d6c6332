"""Frames through the early exits of an emulated board, and through those of Engine.

Usage: python -m tests.firmware_gen.exits.board [--inputs COUNT] [--board NAME] [NAME.graft FRAMES.npz]
The file holds ``frames``. Without a bundle it is one of random weights, with three exits that audit 5 % of the frames.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.files import sha256_of
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.kernels.c_text import array as c_array
from multigraft.firmware_gen.project.folder import build_folder, write_folder
from multigraft.runtime import Engine
from multigraft.runtime.answers import Classification
from multigraft.tensors.arrays import Array
from tests.firmware_gen.cascades.people import reference_engine
from tests.firmware_gen.exits.bundles import build, frames, stored

_APP = Path(__file__).with_name("app_exits.c")
_PER_REQUEST = 100
_SILENCE_S = 500
Way = tuple[tuple[str, str | None, int], ...]
"""Of a frame: each task that has exits, the exit it left by, and its class."""


def on_board(bundle: Bundle, board_name: str, some: Sequence[Any], folder: Path) -> tuple[list[Way], list[int]]:
    """What each frame was answered with, and the counts of all exits as :func:`counts` has them."""
    serial = importlib.import_module("serial")
    board = BOARDS[board_name]
    project = generate(bundle, core=CORES[board.core])
    write_folder(project, board, sha256_of(bundle.model), folder)
    shutil.copy(_APP, folder / "target")
    (folder / "target/frames_here.h").write_text(c_array("frames_here", stored(bundle, list(some)).tobytes()))
    build_folder(folder, "PROTOCOL=exits")
    size = sum(o.size for o in project.outputs)
    emulated = EmulatedBoard(board, folder / "build/exits/firmware.elf")
    with emulated, serial.Serial(emulated.port, 115200, timeout=_SILENCE_S) as port:
        emulated.resume()
        assert port.read(1) == b"r"
        received = b""
        for first in range(0, len(some), _PER_REQUEST):
            count = min(_PER_REQUEST, len(some) - first)
            port.write(bytes([count]))
            received += port.read(count * size)
        port.write(b"\0")
        told = np.frombuffer(port.read(24 * len(project.exits)), "<u4").tolist()
    assert len(received) == len(some) * size
    rows = np.frombuffer(received, np.uint8).reshape(len(some), size)
    ends = np.cumsum([o.size for o in project.outputs])
    parts: list[Array] = [
        np.ascontiguousarray(part).view(o.dtype)
        for part, o in zip(np.split(rows, ends[:-1], axis=1), project.outputs, strict=True)
    ]
    ways: list[Way] = []
    for case in range(len(some)):
        way: list[tuple[str, str | None, int]] = []
        for task in dict.fromkeys(e.task for e in project.exits):
            own = [e for e in project.exits if e.task == task]
            number = int(parts[own[0].said][case, 0])
            left = own[number - 1] if number else None
            place = own[0].whole if left is None else left.output
            way.append((project.tasks[task].name, left.name if left else None, int(parts[place][case].argmax())))
        ways.append(tuple(sorted(way)))
    return ways, told


def in_engine(engine: Engine, some: Sequence[Any]) -> list[Way]:
    """The same of an engine."""
    tasks = sorted({gate.task for gate in engine.gates.values()})
    ways: list[Way] = []
    for frame in some:
        result = engine.run(frame)
        way: list[tuple[str, str | None, int]] = []
        for task in tasks:
            answer = result.answers[task]
            assert isinstance(answer, Classification)
            way.append((task, (result.exits or {}).get(task), answer.index))
        ways.append(tuple(way))
    return ways


def counts(engine: Engine) -> list[int]:
    """Of every exit in running order: reached, taken, audited, disagreed, open, in doubt."""
    order = [s.name for s in engine.manifest.segments]
    told: list[int] = []
    for _, gate in sorted(engine.gates.items(), key=lambda item: order.index(item[0])):
        told += [gate.reached, gate.taken, gate.audit.audited, gate.audit.disagreed]
        told += [int(gate.is_open), int(gate.audit.is_in_doubt)]
    return told


def main() -> None:
    """Print how many frames were decided alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?")
    parser.add_argument("frames", nargs="?")
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--board", default="mps2-an386", choices=[b.name for b in BOARDS.values() if b.qemu])
    options = parser.parse_args()
    if options.bundle is None:
        bundle, some = build(audited=0.05, max_disagreement=0.9), frames(options.inputs)
    else:
        with np.load(options.frames) as held:
            bundle, some = Bundle.open(options.bundle), list(held["frames"][: options.inputs])
    engine, started = reference_engine(bundle), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        said, told = on_board(bundle, options.board, some, Path(folder))
    wanted = in_engine(engine, some)
    same = sum(a == b for a, b in zip(said, wanted, strict=True))
    print(f"{options.board}: {same} of {len(some)} frames left by the same exits with the same classes as in Engine")
    for way, number in sorted(collections.Counter(tuple(w[:2] for w in way) for way in wanted).items(), key=str):
        print(f"{number:>8}  {', '.join(f'{task} by {name}' if name else f'{task} whole' for task, name in way)}")
    print(f"counts are {'equal' if told == counts(engine) else 'NOT equal'}: {told}")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
