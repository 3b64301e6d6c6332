"""Hundreds of inferences on an emulated core, in one boot, compared with tflite-runtime's reference kernels.

Usage: python -m tests.firmware_gen.batch [--inputs COUNT] [--board NAME]… MODEL…
A MODEL is a .tflite, a .graft, or ``shapes``: networks of MLPerf Tiny's other shapes with made weights.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.errors import ConversionError, UsageError
from multigraft.files import sha256_of
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.inspection.instruction_check import check_instructions
from multigraft.firmware_gen.project.folder import build_folder, write_folder
from multigraft.firmware_gen.project.project import Project
from multigraft.tensors.arrays import Array
from tests.firmware_gen.borders import borders
from tests.firmware_gen.host import interpreter, reference
from tests.firmware_gen.mlperf_shapes import SHAPES

BOARD_OF_CORE = {
    "M3": "mps2-an385", "M4": "mps2-an386", "M7": "mps2-an500", "M33": "mps2-an505", "M55": "mps3-an547",
    "RV32": "qemu-virt-rv32",
}  # fmt: skip
SMALLEST = "microbit"
"""Cortex-M0 with 16 KiB of RAM: for what fits."""
_APP = Path(__file__).with_name("app_batch.c")
_PER_REQUEST = 50
_SILENCE_S = 300


def _hash(x: Array) -> Array:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return np.asarray(x ^ (x >> np.uint32(16)))


def made_inputs(project: Project, cases: int) -> list[Array]:
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


def wanted_answers(source: bytes | Bundle, project: Project, inputs: list[Array]) -> list[Array]:
    """Per output of the project the reference interpreter's answers; a bundle's segments run in turn."""
    if isinstance(source, bytes):
        return reference(source, inputs)
    runners = [(s, interpreter(source.model).get_signature_runner(s.signature)) for s in source.manifest.segments]
    rows: list[list[Array]] = [[] for _ in project.outputs]
    for case in zip(*inputs, strict=True):
        tensors = {port.name: value for port, value in zip(project.inputs, case, strict=True)}
        for segment, runner in runners:
            said = runner(**{argument: tensors[tensor] for argument, tensor in segment.inputs.items()})
            tensors |= {tensor: said[argument] for argument, tensor in segment.outputs.items()}
        for row, port in zip(rows, project.outputs, strict=True):
            row.append(tensors[port.name])
    return [np.stack(row) for row in rows]


def wrong_cases(source: bytes | Bundle, board_name: str, cases: int, folder: Path, bordered: bool = False) -> list[int]:
    """Numbers of the inputs whose answers differ in any bit; the image may hold only instructions of its core.

    Args:
        source: Content of a plain int8 .tflite file, or a bundle.
        board_name: An emulated board.
        cases: How many inputs.
        folder: Where the project is written and built.
        bordered: It is planned by :func:`tests.firmware_gen.borders.apart`; a byte written between its buffers makes a
            case wrong, too.
    """
    serial = importlib.import_module("serial")
    board = BOARDS[board_name]
    project = generate(source, core=CORES[board.core])
    write_folder(project, board, sha256_of(source if isinstance(source, bytes) else source.model), folder)
    shutil.copy(_APP, folder / "target")
    if bordered:
        text = f"#define BORDERS {borders(project)}\n#define FIRST_INPUT {project.inputs[0].offset}\n"
        (folder / "target/borders.h").write_text(text)
    build_folder(folder, "PROTOCOL=batch")
    image = folder / "build/batch/firmware.elf"
    assert check_instructions(project.core, image) == []
    inputs = made_inputs(project, cases)
    answers = wanted_answers(source, project, inputs)
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


def show_exactness(sources: dict[str, bytes | Bundle], boards: list[str], cases: int) -> None:
    """Print how many of ``cases`` inputs are answered wrong, per model and board."""
    print(f"{'model':<26}{'board':<18}{'inputs':>8}{'wrong':>8}{'seconds':>9}")
    for name, source in sources.items():
        for board in boards:
            started = time.monotonic()
            try:
                with tempfile.TemporaryDirectory() as folder:
                    wrong = str(len(wrong_cases(source, board, cases, Path(folder))))
            except (ConversionError, UsageError) as error:
                print(f"{name:<26}{board:<18}{error}", flush=True)
            else:
                print(f"{name:<26}{board:<18}{cases:>8}{wrong:>8}{time.monotonic() - started:>9.1f}", flush=True)


def models_in(folder: str | None) -> list[Path]:
    """The .tflite files and bundles of a folder."""
    return sorted(p for p in Path(folder).iterdir() if p.suffix in (".tflite", ".graft")) if folder else []


def opened(name: str) -> dict[str, bytes | Bundle]:
    """The models a word of the command line stands for, by what to call them."""
    if name == "shapes":
        return {shape: made() for shape, made in SHAPES.items()}
    path = Path(name)
    return {path.stem: path.read_bytes() if path.suffix == ".tflite" else Bundle.open(path)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--board", action="append", choices=[b.name for b in BOARDS.values() if b.qemu])
    options = parser.parse_args()
    sources = {name: source for model in options.models for name, source in opened(model).items()}
    show_exactness(sources, options.board or [*BOARD_OF_CORE.values(), SMALLEST], options.inputs)


if __name__ == "__main__":
    main()
