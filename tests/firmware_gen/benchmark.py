"""Instructions, flash and RAM of models on emulated boards, beside those of TensorFlow Lite Micro.

Usage: python -m tests.firmware_gen.benchmark [--board NAME] MODEL.tflite…
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from multigraft.files import sha256_of
from multigraft.firmware_gen.boards import BOARDS
from multigraft.firmware_gen.cores import CORES
from multigraft.firmware_gen.folder import build_folder, write_folder
from multigraft.firmware_gen.generator import generate
from multigraft.firmware_gen.instruction_count import count_instructions, image_sizes

TFLM = {
    "kws_ref_model": (7.70e6, 107.5, 22.8),
    "pretrainedResnet_quant": (29.9e6, 149.8, 55.0),
}
"""Instructions, flash KiB and RAM KiB of TensorFlow Lite Micro with CMSIS-NN on mps2-an386, same compiler."""


def show(models: list[Path], board_name: str, layers: bool = False) -> None:
    """Print the table of ``models`` on one board; with ``layers``, the instructions of each function as well."""
    board = BOARDS[board_name]
    print(f"{board.name}: instructions per inference, flash (text, constants, data) and RAM (arena)")
    print(f"{'model':<26}{'ours':>10}{'flash':>9}{'RAM':>9}{'TFLM':>12}{'flash':>9}{'RAM':>9}")
    for path in models:
        data = path.read_bytes()
        project = generate(data, core=CORES[board.core], name=path.stem[:20])
        with tempfile.TemporaryDirectory() as name:
            write_folder(project, board, sha256_of(data), Path(name))
            build_folder(Path(name), "PROTOCOL=bench")
            image = Path(name) / "build/bench/firmware.elf"
            counted, sizes = count_instructions(board, image), image_sizes(board, image)
        row = f"{path.stem:<26}{counted.total / 1e6:>8.2f} M{sizes.flash / 1024:>7.1f} K"
        row += f"{project.arena_bytes / 1024:>7.1f} K"
        if board.name == "mps2-an386" and path.stem in TFLM:
            instructions, flash, ram = TFLM[path.stem]
            row += f"{instructions / 1e6:>10.2f} M{flash:>7.1f} K{ram:>7.1f} K"
        print(row)
        if layers:
            for function, count in sorted(counted.functions.items(), key=lambda item: -item[1]):
                print(f"    {count:>10}  {function}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--board", default="mps2-an386", choices=[b.name for b in BOARDS.values() if b.qemu])
    parser.add_argument("--layers", action="store_true", help="instructions per function as well")
    options = parser.parse_args()
    show(options.models, options.board, options.layers)


if __name__ == "__main__":
    main()
