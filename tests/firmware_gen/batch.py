"""Hundreds of inferences on an emulated core, in one boot, compared with tflite-runtime's reference kernels.

Usage: python -m tests.firmware_gen.batch [--inputs COUNT] [--board NAME]… MODEL.tflite…
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from multigraft.files import sha256_of
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards import BOARDS
from multigraft.firmware_gen.cores import CORES
from multigraft.firmware_gen.folder import build_folder, write_folder
from multigraft.firmware_gen.instruction_check import check_instructions
from multigraft.firmware_gen.project import Project
from multigraft.firmware_gen.qemu import EmulatedBoard
from tests.firmware_gen.host import reference

BOARD_OF_CORE = {
    "M3": "mps2-an385", "M4": "mps2-an386", "M7": "mps2-an500", "M33": "mps2-an505", "M55": "mps3-an547",
    "RV32": "qemu-virt-rv32",
}  # fmt: skip
_APP = Path(__file__).with_name("app_batch.c")
_PER_REQUEST = 50
_SILENCE_S = 300


def _hash(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def made_inputs(project: Project, cases: int) -> list[np.ndarray]:
    """What app_batch.c makes: one array per input, int8, cases first."""
    size = sum(p.size for p in project.inputs)
    number = np.arange(cases, dtype=np.uint32)[:, None]
    random = _hash(number * np.uint32(size) + np.arange(size, dtype=np.uint32))
    centre = _hash(~number).astype(np.uint8).view(np.int8).astype(np.int64)
    kinds = [
        random.astype(np.uint8).view(np.int8),
        np.where(random & 1, 127, -128),
        np.clip(centre + (random & 31) - 16, -128, 127),
        np.broadcast_to(centre, random.shape),
    ]
    rows = np.choose(number & 3, kinds).astype(np.int8)
    parts = np.split(rows, np.cumsum([p.size for p in project.inputs])[:-1], axis=1)
    return [part.reshape(cases, *p.shape) for part, p in zip(parts, project.inputs, strict=True)]


def wrong_cases(model: bytes, board_name: str, cases: int, folder: Path) -> list[int]:
    """Numbers of the inputs whose answers differ in any bit; the image may hold only instructions of its core.

    Args:
        model: Content of a plain int8 .tflite file.
        board_name: An emulated board.
        cases: How many inputs.
        folder: Where the project is written and built.
    """
    serial = importlib.import_module("serial")
    board = BOARDS[board_name]
    project = generate(model, core=CORES[board.core])
    write_folder(project, board, sha256_of(model), folder)
    shutil.copy(_APP, folder / "target")
    build_folder(folder, "PROTOCOL=batch")
    image = folder / "build/batch/firmware.elf"
    assert check_instructions(project.core, image) == []
    inputs = made_inputs(project, cases)
    answers = reference(model, inputs)
    wanted = np.concatenate([np.ascontiguousarray(a.reshape(cases, -1)).view(np.uint8) for a in answers], axis=1)
    received = b""
    emulated = EmulatedBoard(board, image)
    with emulated, serial.Serial(emulated.port, 115200, timeout=_SILENCE_S) as port:
        emulated.resume()
        assert port.read(1) == b"r"
        for first in range(0, cases, _PER_REQUEST):
            count = min(_PER_REQUEST, cases - first)
            port.write(bytes([count]))
            received += port.read(count * wanted.shape[1])
    assert len(received) == wanted.size, f"{board_name} answered {len(received)} of {wanted.size} bytes"
    got = np.frombuffer(received, np.uint8).reshape(wanted.shape)
    return [int(case) for case in np.flatnonzero((got != wanted).any(axis=1))]


def show_exactness(models: list[Path], boards: list[str], cases: int) -> None:
    """Print how many of ``cases`` inputs are answered wrong, per model and board."""
    print(f"{'model':<26}{'board':<18}{'inputs':>8}{'wrong':>8}{'seconds':>9}")
    for path in models:
        for board in boards:
            started = time.monotonic()
            with tempfile.TemporaryDirectory() as name:
                wrong = wrong_cases(path.read_bytes(), board, cases, Path(name))
            seconds = time.monotonic() - started
            print(f"{path.stem:<26}{board:<18}{cases:>8}{len(wrong):>8}{seconds:>9.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--board", action="append", choices=[b.name for b in BOARDS.values() if b.qemu])
    options = parser.parse_args()
    show_exactness(options.models, options.board or list(BOARD_OF_CORE.values()), options.inputs)


if __name__ == "__main__":
    main()
