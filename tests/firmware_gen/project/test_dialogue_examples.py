"""Boards with a framework answer over their serial ports: each example, on played functions of its framework."""

from __future__ import annotations

import os
import subprocess
import tty
from pathlib import Path

import pytest

from multigraft.cli.main import main
from multigraft.firmware_gen.boards.boards import BOARDS
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.host import WARNINGS, gcc
from tests.firmware_gen.models import remembering, residual
from tests.firmware_gen.project.frameworks import HEADERS, MAINS

EXAMPLES = {
    "pico-sdk": ("pico", "pico-sdk-dialogue/main.c"),
    "zephyr": ("pico2", "zephyr-dialogue/main.c"),
    "esp-idf": ("esp32c3", "esp-idf-dialogue/main/main.c"),
    "stm32cube": ("nucleo-h743", "stm32cube-dialogue/dialogue.c"),
    "arduino": ("nano33ble", "Dialogue/Dialogue.ino"),
}
"""Framework to a board of it, and the example."""

pytestmark = needs_tools


def built(framework: str, folder: Path, models: list[bytes]) -> tuple[Path, Path]:
    """The project of some models, and its example as a program of this machine."""
    board, example = EXAMPLES[framework]
    names = []
    for number, model in enumerate(models):
        (folder / f"net{number}.tflite").write_bytes(model)
        names.append(str(folder / f"net{number}.tflite"))
    project, portable = folder / "fw", folder / "portable"
    assert main(["firmware", *names, "--board", board, "-o", str(project)]) == 0
    # The networks' own C may hold instructions of the board's core: this machine runs that of one without any.
    assert main(["firmware", *names, "--board", "esp32c3", "-o", str(portable)]) == 0
    for name, text in HEADERS[framework].items():
        (folder / "played" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "played" / name).write_text(text)
    includes = [f"-I{folder}/played", f"-I{project}/src/dialogue", f"-I{portable}/src"]
    defined = ["-D_GNU_SOURCE", "-Wno-unused-variable"]
    sources = [*sorted((portable / "src").glob("*.c")), *sorted((project / "src/dialogue").glob("*.c"))]
    calls, extra = folder / "calls.c", MAINS.get(framework, "")
    calls.write_text(extra)
    if framework == "arduino":
        # The IDE puts this include in front, and compiles sketches as C++.
        (folder / "sketch.cpp").write_text(
            '#include "Arduino.h"\n' + (project / "examples" / example).read_text() + extra
        )
        gcc(
            folder, folder / "sketch.o", "-xc++", "-Wall", "-Wextra", "-Werror", *includes, *defined, "-c", "sketch.cpp"
        )
        main_parts = ["sketch.o", "-lstdc++"]
    else:
        main_parts = [str(project / "examples" / example), *(["calls.c"] if extra else [])]
    program = gcc(folder, folder / "program", *WARNINGS, *includes, *defined, *map(str, sources), *main_parts)
    return project, program


def verified(project: Path, program: Path) -> int:
    """What ``firmware verify`` ends with; the program speaks on the other side of its port."""
    device, port = os.openpty()
    tty.setraw(device)
    tty.setraw(port)
    try:
        with subprocess.Popen([str(program)], stdin=device, stdout=device) as running:
            try:
                return main(["firmware", "verify", str(project), "--port", os.ttyname(port), "--timeout", "60"])
            finally:
                running.kill()
    finally:
        os.close(device)
        os.close(port)


@pytest.mark.parametrize("framework", EXAMPLES)
def test_every_frameworks_example_answers_verify(
    framework: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project, program = built(framework, tmp_path, [residual()])
    assert verified(project, program) == 0
    assert "golden cases equal bit for bit" in capsys.readouterr().out


def test_several_models_answer_over_one_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project, program = built("arduino", tmp_path, [residual(), remembering(None)])
    assert verified(project, program) == 0
    assert "golden cases equal bit for bit" in capsys.readouterr().out


def test_every_board_with_a_framework_has_an_example() -> None:
    libraries = {board.framework for board in BOARDS.values() if board.uart is None}
    assert libraries == {BOARDS[board].framework for board, _ in EXAMPLES.values()}
