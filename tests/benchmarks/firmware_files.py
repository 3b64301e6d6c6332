"""Real .tflite files as firmware: which go through, how many of their answers differ in any bit, and what they take.

Usage: python -m tests.benchmarks.firmware_files [--frames COUNT] [--macs COUNT] [--board NAME] PATH...
A PATH is a .tflite file, a folder that is searched for them, or ``shapes``. Equal files count once, float ones not at
all.

Frames follow one another, so that variables and states count. The C is the portable one, compiled for this machine, and
compared with tflite-runtime's reference kernels; instructions, flash and RAM are those of the board in QEMU. Large
networks get fewer frames, at least 3, as the reference kernels take their time.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from multigraft.cli.shared.table import print_table
from multigraft.errors import MultigraftError
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.program.program import load
from multigraft.tflite import tflite_file
from tests.benchmarks.firmware import BOARD, TFLM, measure
from tests.firmware_gen.host import compile_host, reference, run_host, stimuli
from tests.firmware_gen.mlperf_shapes import SHAPES


@dataclass(frozen=True)
class Tried:
    """One file.

    Attributes:
        name: Its path without the folder that was searched.
        refused: Why it is none for firmware; empty if it is.
        frames: How many frames were compared.
        wrong: Stored values that differ from the reference's.
        values: Stored values that were compared.
        figures: Instructions in millions, flash and RAM in KiB, or why there are none.
    """

    name: str
    refused: str = ""
    frames: int = 0
    wrong: int = 0
    values: int = 0
    figures: tuple[str, str, str] = ("-", "-", "-")


def files(words: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each different file."""
    seen = set()
    for word in words:
        if word == "shapes":
            yield from ((f"{name}, made weights", make()) for name, make in SHAPES.items())
            continue
        root = Path(word)
        for path in [root] if root.is_file() else sorted(root.rglob("*.tflite")):
            content = path.read_bytes()
            digest = hashlib.sha256(content).digest()
            if digest not in seen:
                seen.add(digest)
                yield str(path.relative_to(root) if root.is_dir() else path.name), content


def is_int8(content: bytes) -> bool:
    """Whether most of what its operators compute is int8, whatever its ends are."""
    try:
        graphs = tflite_file.read(content, stateful=True).subgraphs
    except MultigraftError:
        return True
    types = [g.tensors[n].dtype for g in graphs for op in g.ops for n in op.outputs]
    return 2 * types.count("int8") >= len([t for t in types if t != "resource"])


def try_file(name: str, content: bytes, board: Board, frames: int, macs: float) -> Tried:
    """Generate, compare ``frames`` frames in sequence, measure."""
    try:
        program, project = load(content), generate(content, core=M3)
    except MultigraftError as error:
        return Tried(name, str(error))
    frames = min(frames, max(3, int(macs / max(project.given.macs, 1))))
    inputs = [
        np.random.default_rng(seed).normal(0, 1, (frames, *t.shape)).astype(np.float32)
        if t.dtype == "float32"
        else stimuli(t.shape, frames, seed).view(t.dtype)
        for seed, t in enumerate(program.inputs)
    ]
    try:
        wanted = reference(content, inputs)
    except ValueError:
        # The interpreters refuse what older converters wrote beside a bias; written again the file is as they want it.
        wanted = reference(tflite_file.write(tflite_file.read(content, stateful=True)), inputs)
    with TemporaryDirectory() as folder:
        answers = run_host(compile_host(project, Path(folder)), project, inputs)
    pairs = list(zip(answers.values(), wanted, strict=True))
    wrong = sum(int((answer.reshape(want.shape) != want).sum()) for answer, want in pairs)
    try:
        m = measure(content, "model", board)
        ram_bytes = m.project.arena_bytes + m.project.variable_bytes
        figures = (f"{m.instructions.total / 1e6:.3f}", f"{m.flash_bytes / 1024:.1f}", f"{ram_bytes / 1024:.1f}")
    except MultigraftError:
        figures = ("does not fit", "-", f"{(project.arena_bytes + project.variable_bytes) / 1024:.1f}")
    return Tried(name, "", frames, wrong, sum(w.size for w in wanted), figures)


def show(tried: Sequence[Tried], floats: int, board: Board) -> None:
    """The table, the refusals, and the sums."""
    rows = []
    for t in tried:
        if not t.refused:
            tflm = TFLM.get(Path(t.name).stem.rpartition("-")[2]) if board.name == BOARD else None
            beside = [f"{tflm[0] / 1e6:.2f}", f"{tflm[1]:.1f}", f"{tflm[2]:.1f}"] if tflm else ["-"] * 3
            rows.append([t.name, str(t.frames), f"{t.wrong} of {t.values}", *t.figures, *beside])
    print_table(
        f"{board.name} in QEMU: values that differ over frames in sequence, instructions of one inference, "
        "flash and RAM (arena and variables); beside them TensorFlow Lite Micro with CMSIS-NN where it was counted",
        ("file", "frames", "differ", "instructions, M", "flash, KiB", "RAM, KiB", "TFLM, M", "flash, KiB", "RAM, KiB"),
        rows,
    )
    for t in tried:
        if t.refused:
            print(f"refused: {t.name}: {t.refused}")
    exact = sum(not t.refused and t.wrong == 0 for t in tried)
    print(f"{len(tried)} int8 files: {len(rows)} go through, {exact} of them bit-exact; {floats} float files left out")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--macs", type=float, default=2e9, help="of all frames of one file")
    parser.add_argument("--board", default=BOARD, choices=[b.name for b in BOARDS.values() if b.qemu])
    options = parser.parse_args()
    board = BOARDS[options.board]
    tried: list[Tried] = []
    floats = 0
    for name, content in files(options.paths):
        if is_int8(content):
            tried.append(try_file(name, content, board, options.frames, options.macs))
            t = tried[-1]
            said = t.refused or f"{t.wrong} of {t.values} differ, {' '.join(t.figures)}"
            print(f"{len(tried)}: {name}: {said}", file=sys.stderr, flush=True)
        else:
            floats += 1
    show(tried, floats, board)
    return 1 if any(t.wrong for t in tried) else 0


if __name__ == "__main__":
    raise SystemExit(main())
