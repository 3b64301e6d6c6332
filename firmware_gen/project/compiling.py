"""An image of a project folder by the compiler alone, as make would build it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from multigraft.errors import ConversionError
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.toolchain import toolchain_of
from multigraft.firmware_gen.project.compiler_flags import WARNINGS, core_flags
from multigraft.firmware_gen.project.target_sources import target_sources

_NOT_ITSELF = ("-fno-builtin", "-fno-tree-loop-distribute-patterns")
"""For memory.c: a loop that copies must not become a call of the function it is in."""


def compile_image(board: Board, project: Path, folder: Path, protocol: str = "frames") -> Path:
    """Compile the project's image into ``folder``.

    Args:
        board: The project's board, which has a start-up of ours and no slots.
        project: The project folder.
        folder: Where objects and the image go; it has to be there.
        protocol: Which serial application.

    Returns:
        ``firmware.elf`` in ``folder``.

    Raises:
        ConversionError: It does not compile, or does not fit the board.
        MissingDependencyError: The toolchain is missing.
    """
    gcc = toolchain_of(CORES[board.core]).tool("gcc")
    core = core_flags(board).split()
    freestanding = [] if CORES[board.core].architecture == "arm" else ["-isystem", "target/freestanding"]
    flags = [
        *core, "-std=c11", "-O2", "-g", "-ffunction-sections", "-fdata-sections", "-fno-common", *WARNINGS.split(),
        "-DMODEL_STEP_LABELS", "-Isrc", "-Itarget", *freestanding,
    ]  # fmt: skip
    names = [f"target/{name}" for name in (*target_sources(board), "app_model.c", f"app_{protocol}.c")]
    names += sorted(str(path.relative_to(project)) for path in (project / "src").glob("*.c"))
    objects = []
    for name in names:
        made = folder / f"{name.replace('/', '-')}.o"
        own = _NOT_ITSELF if name == "target/memory.c" else ()
        _run([gcc, *flags, *own, "-c", name, "-o", str(made)], project)
        objects.append(str(made))
    image = folder / "firmware.elf"
    linked = ["-nostdlib", "-nostartfiles", "-static", "-Wl,--gc-sections", "-T", "link.ld"]
    _run([gcc, *core, *linked, *objects, "-lgcc", "-o", str(image)], project)
    return image


def _run(command: list[str], project: Path) -> None:
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise ConversionError(f"{project} does not build: {done.stderr.strip()[-500:]}", "generate it again")
