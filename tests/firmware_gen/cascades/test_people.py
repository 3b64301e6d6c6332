"""Person, then face, then mood and age, all on a board: what Engine says of a frame, the firmware says of it."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.answers.answer_format import AnswerFormat
from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.errors import ConfigurationError, UsageError
from multigraft.firmware_gen import generate, generator
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.cascades.candidates import READERS
from multigraft.firmware_gen.inspection.instruction_check import check_instructions
from multigraft.firmware_gen.project.folder import build_folder
from multigraft.firmware_gen.project.project import Project
from tests.converters.cascade_scene import Picture
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.borders import apart, borders
from tests.firmware_gen.cascades.people import (
    PEOPLE,
    assert_same,
    built,
    frames,
    raw_crop_answers,
    reference_engine,
)
from tests.firmware_gen.host import SANITIZERS, WARNINGS, compile_host, gcc, run_host

COUNTER = r"""
#include <stdio.h>
#include "model.h"
static uint32_t calls[MODEL_STEP_COUNT + 1];
void model_profile(uint32_t step) { calls[step]++; }
int main(void)
{
    while (fread(model_inputs[0].data, 1, model_inputs[0].bytes, stdin) == model_inputs[0].bytes) {
        for (int i = 0; i <= MODEL_STEP_COUNT; i++)
            calls[i] = 0;
        model_run(MODEL_ALL_TASKS);
        fwrite(calls, sizeof calls[0], MODEL_STEP_COUNT, stdout);
    }
    return 0;
}
"""


ON_BOARDS = (0, 2, 7)
"""Of the frames nobody, two people, and four with noise: an emulated port takes seconds for each. The host runs all."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def bundle(path: Path) -> Bundle:
    return Bundle.open(path)


@needs_tools
@pytest.mark.parametrize("name", ["netduinoplus2", "mps2-an385"])
def test_a_board_answers_as_engine_does(
    name: str, path: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = BOARDS[name]
    folder = tmp_path / "fw"
    assert main(["firmware", str(path), "--board", name, "-o", str(folder)]) == 0
    build_folder(folder)
    if name == "mps2-an385":
        assert main(["firmware", "verify", str(folder), "--qemu", "--timeout", "200"]) == 0
        assert "8 golden cases equal bit for bit" in capsys.readouterr().out
    engine, persons = reference_engine(bundle), []
    with EmulatedBoard(board, folder / "build/frames/firmware.elf") as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        target = Target(link, timeout_s=200)
        assert [t.name for t in target.info.inputs] == ["frame"]
        for frame in (frames()[number] for number in ON_BOARDS):
            said = target.infer({"frame": frame[None]}).outputs
            persons.append(assert_same(said, engine.run(frame).answers))
            for task, rows in raw_crop_answers(engine, frame).items():
                np.testing.assert_array_equal(said[f"{task}/answers"][: len(rows)], np.reshape(rows, (-1, 2)))
        # A task brings those whose boxes it needs; a detector alone brings nothing.
        said = target.infer({"frame": frames()[2][None]}, ["age"]).outputs
        assert set(said) == {"face/crops", "age/answers"}
        assert said["face/crops"][0] == 2
        assert set(target.infer(tasks=["person"]).outputs) == {"person/count", "person/boxes"}
    assert persons == [0, 2, 4]


def with_on(bundle: Bundle, task: str, **changes: Any) -> Bundle:
    return bundle.with_tasks(
        dataclasses.replace(t, on=dataclasses.replace(t.on, **changes)) if t.name == task and t.on else t
        for t in bundle.manifest.tasks
    )


VARIANTS: dict[str, tuple[Callable[[Bundle], Bundle], tuple[int, int] | None]] = {
    "as it is": (lambda bundle: bundle, None),
    "with a margin": (lambda bundle: with_on(bundle, "face", margin=0.3), None),
    "one box": (lambda bundle: with_on(bundle, "face", top=1), None),
    "of one class": (lambda bundle: with_on(bundle, "face", labels=("person",)), None),
    "of no class": (lambda bundle: with_on(bundle, "face", labels=("dog",)), None),
    "a frame of another size": (lambda bundle: bundle, (96, 120)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_answers_are_those_of_engine_and_no_byte_beside_a_buffer_is_touched(
    name: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "plan", apart)
    change, size = VARIANTS[name]
    changed = change(bundle)
    project = generate(changed, core=CORES["m3"], frame=size)
    seen = [enlarged(f, size) for f in frames()]
    forbidden = [f"-DFORBIDDEN={borders(project)}", f"-DFIRST_INPUT={project.inputs[0].offset}"]
    program = compile_host(project, tmp_path, *SANITIZERS, *forbidden)
    said = run_host(program, project, [np.stack(seen)[:, None]])
    engine = reference_engine(changed)
    for case, frame in enumerate(seen):
        assert_same({name: rows[case] for name, rows in said.items()}, engine.run(frame).answers)


def enlarged(frame: Picture, size: tuple[int, int] | None) -> Picture:
    if size is None:
        return frame
    rows, columns = (np.arange(n) * side // n for n, side in zip(size, frame.shape[:2], strict=True))
    return np.ascontiguousarray(frame[rows][:, columns])


def test_the_planned_arena_gives_the_same_and_is_no_sum_of_its_networks(bundle: Bundle, tmp_path: Path) -> None:
    """Here buffers share memory as on a board: what lives over a loop must outlive each of its turns."""
    project = generate(bundle, core=CORES["m0plus"])
    program = compile_host(project, tmp_path, "-O2", "-DMG_MULTIPLY_32")
    said = run_host(program, project, [np.stack(frames())[:, None]])
    engine = reference_engine(bundle)
    for case, frame in enumerate(frames()):
        assert_same({name: rows[case] for name, rows in said.items()}, engine.run(frame).answers)
    assert project.arena_bytes < sum(size for size, _, _ in project.lifetimes.values())


def steps_run(project: Project, folder: Path, seen: list[Picture]) -> list[list[int]]:
    """How often each step ran, for each frame."""
    program = compile_host(project, folder, "-O1", "-DMODEL_PROFILE", main=COUNTER)
    data = b"".join(f.tobytes() for f in seen)
    done = subprocess.run([str(program)], input=data, capture_output=True, check=True)
    steps: list[list[int]] = np.frombuffer(done.stdout, np.uint32).reshape(len(seen), -1).tolist()
    return steps


def test_nothing_runs_when_nothing_was_found_and_a_network_once_a_box(bundle: Bundle, tmp_path: Path) -> None:
    project = generate(bundle, core=CORES["m3"])
    names = [task.name for task in project.tasks]
    ran = steps_run(project, tmp_path, frames()[:4])
    for people, counts in zip(PEOPLE, ran, strict=True):
        for step, count in zip(project.steps, counts, strict=True):
            of_faces = step.tasks & sum(1 << names.index(n) for n in ("face", "mood", "age"))
            once = not of_faces or step.operator in ("CHOOSE", "CLEAR")
            assert count == (1 if once else len(people)), step


SLOW_CLOCK = """
uint32_t model_microseconds(void)
{
    static uint32_t now = 0xfffff000u;
    return now += 1000u;
}
"""


@pytest.mark.parametrize(("deadline_us", "looked_at"), [(2500.0, 2), (0.0, 0), (1e9, 4)])
def test_after_its_deadline_a_task_begins_with_no_further_box(
    deadline_us: float, looked_at: int, bundle: Bundle, tmp_path: Path
) -> None:
    """By a clock that goes on by a millisecond whenever it is read, and soon begins anew."""
    project = generate(with_on(bundle, "face", deadline_us=deadline_us), core=CORES["m3"])
    text = project.files["model.c"].replace("uint32_t model_microseconds(void)\n", "uint32_t none(void)\n")
    project = dataclasses.replace(project, files={**project.files, "model.c": text + SLOW_CLOCK})
    program = compile_host(project, tmp_path, *SANITIZERS)
    said = run_host(program, project, [frames()[3][None, None]])
    (crops,) = said["person/crops"]
    assert crops.tolist() == [looked_at, *range(looked_at), *[0] * (4 - looked_at)]
    assert said["person/count"] == 4
    assert said["face/count"] == looked_at


REFUSED: dict[str, tuple[Callable[[Bundle], Bundle], str]] = {
    "turned crops": (lambda b: with_on(b, "face", level=(0, 1)), "task 'face' wants its crops turned by keypoints"),
    "a margin beyond": (lambda b: with_on(b, "face", margin=20.0), "with a margin of 20; choose a margin from 0 to 16"),
    "no box": (lambda b: with_on(b, "face", top=0), "looks at 0 boxes"),
    "a late deadline": (lambda b: with_on(b, "face", deadline_us=1e10), "a deadline of 1e[+]10 us"),
    "no format": (lambda b: with_answer(b, "person", None), "decodes no answers of task 'person'.*name its format"),
}


def with_answer(bundle: Bundle, task: str, answer: AnswerFormat | None) -> Bundle:
    return bundle.with_tasks(
        dataclasses.replace(t, answer=answer) if t.name == task else t for t in bundle.manifest.tasks
    )


@pytest.mark.parametrize("name", REFUSED)
def test_what_firmware_does_not_do_is_refused_in_one_sentence(name: str, bundle: Bundle) -> None:
    change, sentence = REFUSED[name]
    with pytest.raises(ConfigurationError, match=sentence):
        generate(change(bundle), core=CORES["m3"])


def test_a_frame_of_no_pixels_or_for_nothing_is_refused(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["firmware", str(path), "--board", "mps2-an385", "-o", str(tmp_path / "fw")]
    assert main([*command, "--frame", "5000x10"]) == ConfigurationError.exit_code
    assert "the frame is 5000 x 10 pixels" in capsys.readouterr().err
    assert main([*command, "--frame", "wide"]) == UsageError.exit_code
    assert "--frame wide is not understood" in capsys.readouterr().err
    alone = Bundle.open(path)
    alone.with_tasks(dataclasses.replace(t, on=None) for t in alone.manifest.tasks).write(tmp_path / "flat.graft")
    flat = ["firmware", str(tmp_path / "flat.graft"), *command[2:]]
    assert main([*flat, "--frame", "64x64"]) == UsageError.exit_code
    assert "no task looks at boxes" in capsys.readouterr().err
    assert main(flat) == 0


def test_the_page_names_the_formats_that_are_decoded() -> None:
    page = Path("docs/firmware.md").read_text("utf-8")
    table = page.split("| boxes are decoded of | formats |\n|---|---|\n")[1].split("\n\n")[0]
    assert set(re.findall(r"`([^`]+)`", table)) == set(READERS)


def test_the_example_of_a_library_says_how_many_boxes_there_are(path: Path, tmp_path: Path) -> None:
    board = next(board for board in BOARDS.values() if board.framework == "arduino")
    assert main(["firmware", str(path), "--board", board.name, "-o", str(tmp_path / "fw")]) == 0
    # The board's kernels are no code for this machine; the example is the same for every core.
    for name, text in generate(Bundle.open(path), core=CORES["m0plus"]).files.items():
        (tmp_path / name).write_text(text)
    shutil.copy(tmp_path / "fw/examples/zephyr/main.c", tmp_path / "main.c")
    program = gcc(tmp_path, tmp_path / "program", *WARNINGS, "-O1", "-DMG_MULTIPLY_32", "main.c", "model.c")
    said = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["person: 0", "face: 0", "mood: 0", "age: 0"]
    assert "memcpy(&count, output.data" in (tmp_path / "fw/examples/Answer/Answer.ino").read_text()


@needs_tools
@pytest.mark.parametrize("name", ["pico", "nano33ble", "mps2-an500", "mps2-an505", "mps3-an547", "qemu-virt-rv32"])
def test_boards_are_given_no_instruction_that_their_core_lacks(name: str, path: Path, tmp_path: Path) -> None:
    """Boxes are floating-point numbers, of single and of double precision."""
    board = BOARDS[name]
    assert main(["firmware", str(path), "--board", name, "-o", str(tmp_path)]) == 0
    build_folder(tmp_path)
    built_files = [tmp_path / "build/model/src/model.o"]
    built_files += [tmp_path / "build/frames/firmware.elf"] if board.uart is not None else []
    for file in built_files:
        assert check_instructions(CORES[board.core], file) == []
