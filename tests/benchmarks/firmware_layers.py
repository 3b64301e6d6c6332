"""Layers beside other libraries' kernels: instructions of both.

Usage: python -m tests.benchmarks.firmware_layers [--board NAME]... [--model FILE]... [--cmsis FOLDER]
    [--tflm FOLDER --gemmlowp FOLDER]
Without a .tflite file, small layers that are made here; of a file each convolution and dense layer for itself.
The folders are checkouts of CMSIS-NN (github.com/ARM-software/CMSIS-NN), TensorFlow Lite Micro
(github.com/tensorflow/tflite-micro) and gemmlowp (github.com/google/gemmlowp), which it needs. CMSIS-NN stands beside
boards with Helium or DSP instructions, TensorFlow Lite Micro's reference kernels beside others. Both are compiled
by the same gcc at -O2; the interpreter around them is not counted. C++ headers: apt-get install
libstdc++-arm-none-eabi-dev.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from multigraft.cli.shared.table import print_table
from multigraft.errors import ConversionError, UsageError
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.program.program import Node, load
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model
from tests.benchmarks.cmsis_layer import cmsis_call, cmsis_library
from tests.benchmarks.firmware import BOARD
from tests.benchmarks.kernel_beside import Call, Library, beside
from tests.benchmarks.reference_layer import reference_call, reference_library
from tests.firmware_gen.models import Builder, activation

ON_BOARDS = ("microbit", "mps2-an385", "qemu-virt-rv32", "mps3-an547")
"""Cortex-M0, M3, RV32 and M55."""
_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def _sliding(
    size: tuple[int, int],
    channels: int,
    to: int,
    kernel: tuple[int, int],
    stride: int = 1,
    depthwise: bool = False,
) -> bytes:
    b = Builder(1)
    b.add(activation("in", (1, *size, channels), 0.03, -7))
    b.conv("out", "in", to, kernel=kernel, stride=stride, depthwise=depthwise)
    return b.model(["in"], ["out"])


def _dense(features: int, units: int) -> bytes:
    b = Builder(1)
    b.add(activation("in", (1, features), 0.03, -7))
    b.dense("out", "in", units)
    return b.model(["in"], ["out"])


LAYERS: dict[str, Callable[[], bytes]] = {
    "convolution 3 x 3 on 12 x 12 x 16, to 16": lambda: _sliding((12, 12), 16, 16, (3, 3)),
    "convolution 3 x 3 on 24 x 24 x 3, to 8, stride 2": lambda: _sliding((24, 24), 3, 8, (3, 3), 2),
    "convolution 10 x 4 on 25 x 10 x 1, to 16, stride 2": lambda: _sliding((25, 10), 1, 16, (10, 4), 2),
    "convolution 1 x 1 on 10 x 10 x 32, to 32": lambda: _sliding((10, 10), 32, 32, (1, 1)),
    "depthwise 3 x 3 on 12 x 12 x 16": lambda: _sliding((12, 12), 16, 16, (3, 3), 1, True),
    "depthwise 3 x 3 on 12 x 12 x 32, stride 2": lambda: _sliding((12, 12), 32, 32, (3, 3), 2, True),
    "depthwise 5 x 5 on 12 x 12 x 16": lambda: _sliding((12, 12), 16, 16, (5, 5), 1, True),
    "depthwise 3 x 3 on 12 x 12 x 8, multiplier 2": lambda: _sliding((12, 12), 8, 16, (3, 3), 1, True),
    "dense, 640 to 64": lambda: _dense(640, 64),
}
"""Small enough for 16 KiB of RAM."""


def layers_of(model: bytes) -> dict[str, bytes]:
    """Each convolution and dense layer of a .tflite file as one of its own."""
    graph, made = tflite_file.read(model).main, {}
    for number, op in enumerate(graph.ops):
        if op.name in _LAYERS:
            tensors = [graph.tensors[name] for name in (*op.inputs, *op.outputs) if name]
            alone = Graph.of("main", op.inputs[:1], op.outputs, [op], tensors)
            made[f"{number} {op.name}"] = tflite_file.write(Model((alone,)))
    return made


def show(layers: dict[str, bytes], board: Board, name: str, library: Library, call: Callable[[Node], Call]) -> None:
    """A row a layer, and one for their sum."""
    rows = []
    sums = [0, 0]
    for title, model in layers.items():
        try:
            ours, theirs, _ = beside(model, board, call(load(model).steps[0].node), library)
        except (ConversionError, UsageError) as error:
            rows.append([title, "-", "-", str(error)])
            continue
        rows.append([title, f"{ours / 1e3:.1f}", f"{theirs / 1e3:.1f}", f"{ours / theirs:.2f}"])
        sums = [sums[0] + ours, sums[1] + theirs]
    rows.append(["all", f"{sums[0] / 1e3:.1f}", f"{sums[1] / 1e3:.1f}", f"{sums[0] / max(sums[1], 1):.2f}"])
    print_table(
        f"{board.name} in QEMU ({CORES[board.core].name}): layers for themselves, and {name}",
        ("layer", "instructions, thousands", "theirs", "ratio"),
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", action="append", choices=(*ON_BOARDS, BOARD))
    parser.add_argument("--model", action="append", type=Path, metavar="FILE")
    parser.add_argument("--cmsis", type=Path, metavar="FOLDER")
    parser.add_argument("--tflm", type=Path, metavar="FOLDER")
    parser.add_argument("--gemmlowp", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if not options.cmsis and not (options.tflm and options.gemmlowp):
        parser.error("give --cmsis, or --tflm with --gemmlowp: there is nothing to stand beside")
    chosen = [layers_of(path.read_bytes()) for path in options.model or ()]
    for board in map(BOARDS.__getitem__, options.board or ON_BOARDS):
        for layers in chosen or [{title: make() for title, make in LAYERS.items()}]:
            with tempfile.TemporaryDirectory() as folder:
                if CORES[board.core].dsp or CORES[board.core].mve:
                    if options.cmsis:
                        library = cmsis_library(options.cmsis, board, Path(folder))
                        show(layers, board, "CMSIS-NN's", library, cmsis_call)
                elif options.tflm and options.gemmlowp:
                    library = reference_library(options.tflm, options.gemmlowp, board, Path(folder))
                    show(layers, board, "TensorFlow Lite Micro's reference kernels", library, reference_call)


if __name__ == "__main__":
    main()
