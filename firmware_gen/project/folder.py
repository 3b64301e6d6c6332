"""A project folder: everything that builds, is flashed and verified, written whole."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from multigraft import files
from multigraft.errors import ConversionError, InputError, UsageError
from multigraft.firmware_gen.boards.board import Board, Uart
from multigraft.firmware_gen.boards.boards import board_named
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.toolchain import toolchain_of
from multigraft.firmware_gen.boards.update_slots import factory_contents
from multigraft.firmware_gen.project.app_files import app_model_of
from multigraft.firmware_gen.project.glue_files import how_to
from multigraft.firmware_gen.project.makefiles import SECOND
from multigraft.firmware_gen.project.project import Project
from multigraft.firmware_gen.project.project_files import project_files
from multigraft.firmware_gen.project.whole_folder import finish_left, remove_stale, whole_folder
from multigraft.npz import NpzFile, npz_bytes
from multigraft.reading import read_json
from multigraft.visible import visible

DESCRIPTION = "project.json"
GOLDEN = "golden.npz"
IMAGE = "build/frames/firmware"
LIBRARY = "build/libmodel.a"
BOOT = "build/boot.bin"
FACTORY = "build/frames/factory.bin"


@dataclass(frozen=True)
class ProjectFolder:
    """A project folder that was written before.

    Attributes:
        path: The folder.
        board: What it was generated for.
        digest: Hex SHA-256 of the model.
        steps: Operator and output of every step of the model, as the profile numbers them.
    """

    path: Path
    board: Board
    digest: str
    steps: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> ProjectFolder:
        """Read a folder's description.

        Raises:
            UsageError: It is no project folder.
        """
        if not (path / DESCRIPTION).exists():
            raise UsageError(
                f"{path} is no firmware project", "make one with: multigraft firmware MODEL --board BOARD -o FOLDER"
            )
        try:
            data = read_json(path / DESCRIPTION)
            return cls(path, board_named(data["board"]), data["digest"], tuple(data["steps"]))
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path / DESCRIPTION} is damaged ({error})", "generate the project again") from error

    @property
    def make(self) -> str:
        """The command that builds it."""
        # In a sentence "make -C ." would end as "make -C ..".
        return "make" if self.path == Path() else f"make -C {self.path}"

    def image(self, suffix: str = ".elf") -> Path:
        """The built image.

        Raises:
            UsageError: It is not built yet.
        """
        return self._built(self.path / (IMAGE + suffix))

    def slot_images(self) -> list[bytes]:
        """The built image of a board with slots, for each place it may run at.

        Raises:
            UsageError: It is not built yet.
        """
        assert self.board.slots is not None
        images = [self.image(".bin")]
        if self.board.slots.in_place:
            images.append(images[0].with_name(f"{SECOND}.bin"))
        return [self._built(image).read_bytes() for image in images]

    def factory_image(self) -> Path:
        """A file for the flash of a board whose images run in place: the boot loader, and the image in its first slot.

        Raises:
            InputError: The image is larger than a slot.
            UsageError: It is not built yet.
        """
        assert self.board.slots is not None
        boot = self._built(self.path / BOOT).read_bytes()
        contents = factory_contents(self.board.slots, boot, self.image(".bin").read_bytes())
        files.write_bytes(self.path / FACTORY, contents)
        return self.path / FACTORY

    def _built(self, path: Path) -> Path:
        if not path.is_file():
            raise UsageError(f"{path} does not exist", f"build it with: {self.make}")
        return path

    def golden(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
        """Golden inputs and outputs by name, first axis = case.

        Raises:
            InputError: The folder has none.
        """
        parts = self._golden()
        return parts["input"], parts["output"]

    def golden_sounds(self) -> dict[str, npt.NDArray[Any]]:
        """Sounds that a model hears and its outputs by name, first axis = case; empty for models that hear nothing.

        Raises:
            InputError: The folder has no golden vectors.
        """
        return self._golden()["sound"]

    def _golden(self) -> dict[str, dict[str, npt.NDArray[Any]]]:
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {"input": {}, "output": {}, "sound": {}}
        try:
            with NpzFile(self.path / GOLDEN) as opened:
                for name, array in opened.items():
                    kind, _, tensor = name.partition("/")
                    parts[kind][tensor] = array
        except (InputError, KeyError, OSError, ValueError) as error:
            why = error.problem if isinstance(error, InputError) else str(error)
            raise InputError(f"{self.path} has no golden vectors ({why})", "generate the project again") from error
        return parts


def check_target(path: Path, force: bool = False) -> None:
    """Refuse a folder whose files are of somebody else, before any work.

    Args:
        path: Where a project is to be written.
        force: Whether files of the same names may be replaced all the same.

    Raises:
        UsageError: It holds files and is no firmware project, or it is a file.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file", "name a folder")
    _finish(path)
    if force or not path.is_dir() or (path / DESCRIPTION).is_file():
        return
    theirs = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
    if theirs:
        raise UsageError(
            f"{path} holds {theirs[0]} and is no firmware project, whose files would replace and compile what is there",
            "name a new folder, or write over it with --force",
        )


def write_folder(
    project: Project,
    board: Board,
    digest: str,
    path: Path,
    golden_inputs: Mapping[str, npt.NDArray[Any]] | None = None,
    golden_outputs: Mapping[str, npt.NDArray[Any]] | None = None,
    golden_sounds: Mapping[str, npt.NDArray[Any]] | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> ProjectFolder:
    """Write a project folder, whole or not at all.

    Existing files of the same names are replaced, those of an earlier generation removed, others left.

    Args:
        project: What was generated for the board's core.
        board: The board it is built for.
        digest: Hex SHA-256 of the bundle or model it was generated from.
        path: The folder.
        golden_inputs: Stored inputs by tensor name, first axis = case.
        golden_outputs: What the outputs have to be for them.
        golden_sounds: Sounds to hear and what the outputs have to be, for models that hear.
        beside: More files by name.

    Raises:
        UsageError: The project is for another core, or the folder cannot be written.
    """
    if project.core.name != CORES[board.core].name:
        raise UsageError(f"{board.name} has no {project.core.name}", f"generate for {CORES[board.core].name}")
    contents = {
        **{name: text.encode() for name, text in project_files(board, app_model_of(project, digest)).items()},
        **{f"src/{name}": text.encode() for name, text in project.files.items()},
        "README.md": _readme(project, board).encode(),
        **(beside or {}),
    }
    if golden_inputs is not None and golden_outputs is not None:
        arrays = {f"input/{name}": array for name, array in golden_inputs.items()}
        arrays |= {f"output/{name}": array for name, array in golden_outputs.items()}
        arrays |= {f"sound/{name}": array for name, array in (golden_sounds or {}).items()}
        contents[GOLDEN] = npz_bytes(arrays)
    steps = tuple(f"{step.operator} {step.output}" for step in project.steps)
    description = {
        "board": board.name, "digest": digest, "name": project.name, "steps": steps, "files": sorted(contents)
    }  # fmt: skip
    contents[DESCRIPTION] = json.dumps(description, indent=1).encode() + b"\n"
    _finish(path)
    before = _files_of(path)
    try:
        with whole_folder(path, DESCRIPTION) as staged:
            for name, content in contents.items():
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                files.write_bytes(staged / name, content)
            remove_stale(path, before, set(contents))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "choose another folder") from error
    return ProjectFolder(path, board, digest, steps)


def _finish(path: Path) -> None:
    """What a killed process began to put in its place: a project that is there in part looks like nobody's."""
    try:
        finish_left(path, DESCRIPTION)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "choose another folder") from error


def _files_of(path: Path) -> list[str]:
    """What the project in ``path`` says it consists of; nothing where there is none, or none that says it."""
    try:
        named = read_json(path / DESCRIPTION)["files"]
    except (OSError, KeyError, TypeError, ValueError):
        return []
    return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []


def build_folder(path: Path, *variables: str) -> None:
    """Run make in a project folder.

    Raises:
        MissingDependencyError: The toolchain is missing.
        ConversionError: It does not build, which for a linker message often means that the board is too small.
    """
    toolchain_of(CORES[ProjectFolder.open(path).board.core]).tool("gcc")
    done = subprocess.run(
        ["make", "-C", str(path), *variables], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode == 0:
        return
    overflow = [line for line in done.stderr.splitlines() if "overflowed by" in line or "left for the stack" in line]
    if overflow:
        raise ConversionError(overflow[0].split(": ")[-1], "choose a board with more memory or a smaller network")
    raise ConversionError(f"{path} does not build: {done.stderr.strip()[-500:]}", "generate it again")


_ON_THE_PORT = """    multigraft firmware verify . --port PORT
    multigraft monitor --port PORT      # live answers, cycles, memory; per step after make PROFILE=1
"""


def _serial(uart: Uart) -> str:
    where = f" ({uart.pins})" if uart.pins else ""
    return f"The serial port{where} runs at {uart.baud} baud, 8N1. CMake builds the same: `cmake --preset frames`."


def _flash_commands(board: Board) -> str:
    if board.flashing is None or board.uart is None:
        return ""
    command = "    multigraft flash . --port PORT"
    if board.slots is None:
        return f"{command}      # {board.flashing.method}\n"
    return (
        f"{command} --factory # once: boot loader and first image, by {board.flashing.method}\n"
        f"{command}      # from then on: into the slot that does not run\n"
    )


def _readme(project: Project, board: Board) -> str:
    flash = _flash_commands(board)
    verify = "    multigraft firmware verify . --qemu # golden vectors, bit for bit\n" if board.qemu else ""
    tasks = "".join(f"- bit {bit}: {visible(task.name)}\n" for bit, task in enumerate(project.tasks))
    make = "make" if board.uart else "make library"
    use = "" if board.uart else f"\n{how_to(board)}"
    calls = "".join(
        f"`src/{p.prefix}.h` is the interface of {visible(p.prefix)}, `{p.prefix}_run(task_mask)` its one function.\n"
        for p in project.parts
    )
    if calls and board.uart is None:
        calls += "In each of them bits of tasks count from 0. All tasks:\n\n"
        tasks = "".join(f"- {visible(task.name)}\n" for task in project.tasks)
    elif calls:
        calls += "In each of them bits of tasks count from 0. The serial port has one list of all tasks:\n\n"
    calls = calls or "`src/model.h` is the model's interface, `model_run(task_mask)` its one function. Tasks:\n\n"
    serial = f"\n{_serial(board.uart)}\n" if board.uart else ""
    return (
        f"# {visible(project.name)} for {board.title}\n\n"
        f"    {make}\n{flash}{verify}"
        + (_ON_THE_PORT if board.uart and board.flashing else "")
        + f"{serial}\n{calls}{tasks}{use}\n"
        f"The arena takes {project.arena_bytes} bytes of RAM, constants {project.constant_bytes} of flash.\n"
    )
