"""Instructions, flash and RAM of models on emulated boards, beside those of TensorFlow Lite Micro.

``python -m tests.benchmarks firmware`` measures the models in the folder that MULTIGRAFT_BENCH_MODELS names and
networks of MLPerf Tiny's other shapes, or the demo bundle. For single models, each a .tflite, a .graft, or ``shapes``:
python -m tests.benchmarks.firmware [--board NAME]... [--layers] MODEL...
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from multigraft.bundle.bundle import Bundle
from multigraft.cli.shared.table import print_table
from multigraft.errors import ConversionError, UsageError
from multigraft.files import sha256_of
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.generator import generate
from multigraft.firmware_gen.inspection.instruction_count import Instructions, image_sizes
from multigraft.firmware_gen.project.folder import build_folder, write_folder
from multigraft.firmware_gen.project.project import Project
from tests.benchmarks.firmware_floor import floors
from tests.firmware_gen.batch import BOARD_OF_CORE, SMALLEST, models_in, opened, show_exactness
from tests.firmware_gen.counting import count_instructions

BOARD = "mps2-an386"
TFLM = {
    "kws_ref_model": (7.70e6, 107.5, 22.8),
    "pretrainedResnet_quant": (29.9e6, 149.8, 55.0),
}
"""Instructions, flash KiB and RAM KiB of TensorFlow Lite Micro with CMSIS-NN on mps2-an386 with gcc 12.2, as counted
once on a machine with Debian 12 and QEMU 7.2; by the names the MLPerf Tiny repository gives the models."""


@dataclass(frozen=True)
class Measured:
    """One model on one board; ``model`` is a .tflite's content, empty of a bundle."""

    name: str
    project: Project
    instructions: Instructions
    flash_bytes: int
    model: bytes = b""


def measure(source: bytes | Bundle, name: str, board: Board) -> Measured:
    """Generate, build the least image, and count one inference of all tasks in QEMU."""
    project = generate(source, core=CORES[board.core], name=name[:20])
    digest = sha256_of(source if isinstance(source, bytes) else source.model)
    model = source if isinstance(source, bytes) else b""
    with TemporaryDirectory() as folder:
        write_folder(project, board, digest, Path(folder))
        build_folder(Path(folder), "PROTOCOL=bench")
        image = Path(folder) / "build/bench/firmware.elf"
        return Measured(name, project, count_instructions(board, image), image_sizes(board, image).flash, model)


def measure_all(sources: dict[str, bytes | Bundle], board: Board) -> list[Measured]:
    """Those that fit the board; of the others the reason is printed."""
    measured = []
    for name, source in sources.items():
        try:
            measured.append(measure(source, name, board))
        except (ConversionError, UsageError) as error:
            print(f"{name} on {board.name}: {error}")
    return measured


def print_measured(measured: list[Measured], board: Board, layers: bool = False) -> None:
    """The table, per task where there are several, and one per model with its layers if asked for."""
    rows = []
    for m in measured:
        counts = [f"{m.instructions.total / 1e6:.2f}", f"{m.flash_bytes / 1024:.1f}"]
        row = [m.name, *counts, f"{m.project.arena_bytes / 1024:.1f}"]
        if board.name == BOARD and m.name in TFLM:
            instructions, flash, ram = TFLM[m.name]
            ratio = f"{instructions / m.instructions.total:.2f}"
            rows.append([*row, f"{instructions / 1e6:.2f}", f"{flash:.1f}", f"{ram:.1f}", ratio])
        else:
            rows.append([*row, *["-"] * 4])
        for bit, task in enumerate(m.project.tasks if len(m.project.tasks) > 1 else ()):
            alone = sum(
                count
                for number, count in m.instructions.steps.items()
                if not 0 <= number < len(m.project.steps) or m.project.steps[number].tasks >> bit & 1
            )
            rows.append([f"  {task.name} alone", f"{alone / 1e6:.2f}", *["-"] * 6])
    tflm = ("TFLM, M", "flash, KiB", "RAM, KiB", "fewer by")
    print_table(
        f"{board.name} in QEMU: instructions per inference (exact, one input of zeros), flash (text, constants, data) "
        "and RAM (arena); beside them TensorFlow Lite Micro with CMSIS-NN",
        ("model", "instructions, M", "flash, KiB", "RAM, KiB", *tflm),
        rows,
    )
    for m in measured if layers else ():
        rows = []
        dsp = CORES[board.core].dsp and not CORES[board.core].mve
        least = floors(m.model, m.project.steps) if dsp and m.model else [None] * len(m.project.steps)
        for n, (s, floor) in enumerate(zip(m.project.steps, least, strict=True)):
            count = m.instructions.steps.get(n, 0)
            above = [f"{floor:.0f}", f"{count / floor - 1:.0%}"] if floor else ["-", "-"]
            rows.append(
                [str(n), s.operator, str(s.macs), str(count), f"{count / s.macs:.2f}" if s.macs else "-", *above]
            )
        print_table(
            f"{m.name}, per step; floor: what loads, multiplications and stores take at least (firmware_floor.py)",
            ("step", "operator", "MACs", "instructions", "per MAC", "floor", "above it"),
            rows,
        )


def show(folder: Path) -> None:
    """The models of MULTIGRAFT_BENCH_MODELS, or the demo bundle."""
    given = models_in(os.environ.get("MULTIGRAFT_BENCH_MODELS"))
    if given:
        sources = _sources([*map(str, given), "shapes"])
        for board in (BOARDS[BOARD], BOARDS[BOARD_OF_CORE["M55"]]):
            print_measured(measure_all(sources, board), board, layers=True)
        show_exactness(sources, [*BOARD_OF_CORE.values(), SMALLEST], 500)
    else:
        from tests.benchmarks.demo_bundle import built

        print_measured([measure(built().bundle, "demo", BOARDS[BOARD])], BOARDS[BOARD], layers=True)


def _sources(words: list[str]) -> dict[str, bytes | Bundle]:
    return {name: source for word in words for name, source in opened(word).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--board", action="append", choices=[b.name for b in BOARDS.values() if b.qemu])
    parser.add_argument("--layers", action="store_true", help="instructions per step as well")
    options = parser.parse_args()
    sources = _sources(options.models)
    for board in map(BOARDS.__getitem__, options.board or [BOARD]):
        print_measured(measure_all(sources, board), board, options.layers)


if __name__ == "__main__":
    main()
