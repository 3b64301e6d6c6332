"""Streaming networks: over a sequence of frames, what is kept in between included, they equal tflite-runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.shared.board_options import EMULATED_TIMEOUT_S
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.errors import InputError, UnsupportedOperatorError, UsageError
from multigraft.files import sha256_of
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES, M3
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.inspection.reference import evaluate_sequence
from multigraft.firmware_gen.passes import streaming
from multigraft.firmware_gen.program.program import load
from multigraft.firmware_gen.project.folder import ProjectFolder, build_folder, write_folder
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Model, Op, Tensor
from tests.firmware_gen.batch import wrong_cases
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.host import SANITIZERS, compile_host, reference, run_host, stimuli
from tests.firmware_gen.models import Builder, activation, remembering

FRAMES = 60


@pytest.mark.parametrize("initial", [7, None], ids=["filled", "constant"])
def test_a_sequence_of_frames_equals_the_reference_kernels(initial: int | None, tmp_path: Path) -> None:
    model = remembering(initial)
    frames = stimuli((1, 1, 6, 4), FRAMES)
    wanted = reference(model, [frames])
    program = load(model)
    rows = evaluate_sequence(program, [{"frame": frame} for frame in frames])
    project = generate(model, core=M3)
    answers = run_host(compile_host(project, tmp_path, *SANITIZERS), project, [frames])
    for output, values in zip(program.outputs, wanted, strict=True):
        np.testing.assert_array_equal(np.stack([row[output.name] for row in rows]), values)
        np.testing.assert_array_equal(answers[output.name], values)


def test_a_task_alone_leaves_the_variables_as_all_tasks_do(tmp_path: Path) -> None:
    model = remembering()
    frames = stimuli((1, 1, 6, 4), FRAMES)
    project = generate(model, core=M3)
    host = compile_host(project, tmp_path, *SANITIZERS)
    features, after = reference(model, [frames])
    np.testing.assert_array_equal(run_host(host, project, [frames], 1)["features"], features)
    np.testing.assert_array_equal(run_host(host, project, [frames], 2)["after"], after)
    masks = [1 if case % 3 else 3 for case in range(FRAMES)]
    answers = run_host(host, project, [frames], masks)["after"]
    np.testing.assert_array_equal(answers[::3], after[::3])


@pytest.mark.parametrize("initial", [7, None], ids=["filled", "constant"])
def test_what_is_done_with_before_the_assignment_is_read_in_place(initial: int | None) -> None:
    steps = [s.operator for s in generate(remembering(initial), core=M3).steps]
    assert steps.count("READ_VARIABLE") == 1  # The one an ADD reads, which might join a fused step.
    assert steps.count("ASSIGN_VARIABLE") == 2


@needs_tools
@pytest.mark.parametrize("board", ["mps2-an386", "mps3-an547", "qemu-virt-rv32"])
def test_500_frames_in_a_row_are_bit_exact_in_machine_code(board: str, tmp_path: Path) -> None:
    assert wrong_cases(remembering(None), board, 500, tmp_path) == []


@needs_tools
def test_the_device_forgets_when_asked(tmp_path: Path) -> None:
    model, board = remembering(None), BOARDS["mps2-an386"]
    frames = stimuli((1, 1, 6, 4), 5)
    _, wanted = reference(model, [frames])
    write_folder(generate(model, core=CORES[board.core]), board, sha256_of(model), tmp_path)
    build_folder(tmp_path)
    image = ProjectFolder.open(tmp_path).image()
    with EmulatedBoard(board, image) as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        target = Target(link, timeout_s=EMULATED_TIMEOUT_S)
        assert target.info.keeps_variables
        for _ in range(2):
            answers = [target.infer({"frame": frame}).outputs["after"] for frame in frames]
            np.testing.assert_array_equal(np.stack(answers).ravel(), wanted.ravel())
            target.forget()


def test_variables_count_as_memory() -> None:
    project = generate(remembering(), core=M3)
    assert project.variable_bytes == 3 * 6 * 4 + 4 * 8
    needed = project.arena_bytes + project.variable_bytes
    generate(remembering(), core=M3, ram_bytes=needed)
    with pytest.raises(UsageError, match="1 more than there are"):
        generate(remembering(), core=M3, ram_bytes=needed - 1)


def _without(model: bytes, name: str) -> Model:
    read = tflite_file.read(model)
    main = read.main
    return replace(
        read, subgraphs=(replace(main, ops=tuple(o for o in main.ops if o.name != name)), *read.subgraphs[1:])
    )


def test_a_variable_without_an_initial_value_is_refused() -> None:
    model = _without(remembering(), "CALL_ONCE")
    alone = tflite_file.write(replace(model, subgraphs=model.subgraphs[:1]))
    with pytest.raises(UnsupportedOperatorError, match=r"READ_VARIABLE: .*initial value by call_once"):
        generate(alone, core=M3)


def test_an_initial_value_that_is_computed_is_refused() -> None:
    model = tflite_file.read(remembering())
    once = model.subgraphs[1]
    computed = replace(once.tensors["sum/initial"], name="computed", data=None)
    reshape = Op("RESHAPE", ("sum/initial",), ("computed",), {"new_shape": computed.shape})
    moved = replace(once, ops=(*once.ops, reshape), tensors={**once.tensors, "computed": computed})
    with pytest.raises(UnsupportedOperatorError, match=r"CALL_ONCE: .*may only assign constants"):
        generate(tflite_file.write(replace(model, subgraphs=(model.main, moved))), core=M3)


def test_a_call_of_a_subgraph_that_is_missing_is_refused() -> None:
    model = tflite_file.read(remembering())
    with pytest.raises(InputError, match="CALL_ONCE calls subgraph 1, which is not there"):
        generate(tflite_file.write(replace(model, subgraphs=(model.main,))), core=M3)


def seen_before_it_is_assigned(layer: str) -> bytes:
    """The last frame goes through two layers, between which the variable gets this one."""
    b = Builder(3)
    past = activation("past", (1, 6, 6, 4), 0.03, -7)
    frame = b.add(replace(past, name="frame"))
    handle = Op("VAR_HANDLE", (), ("last",), {"container": "", "shared_name": "last"})
    b.add(Tensor("last", (), "resource"))
    b.ops += [Op("CALL_ONCE", (), (), {"init_subgraph_index": 1}), handle]
    x = b.plain("READ_VARIABLE", "past", ["last"], past)
    if layer == "depthwise":
        x = b.conv("first", x, 4, depthwise=True)
    else:
        window = {"stride_w": 1, "stride_h": 1, "filter_height": 2, "filter_width": 2}
        x = b.plain("MAX_POOL_2D", "first", [x], past, padding="SAME", **window)
    b.ops.append(Op("ASSIGN_VARIABLE", ("last", frame), ()))
    x = b.conv("second", x, 4)
    once = Builder()
    once.add(b.tensors["last"])
    once.add(replace(past, name="initial", data=np.full(past.shape, 9, np.int8)))
    once.ops = [handle, Op("ASSIGN_VARIABLE", ("last", "initial"), ())]
    return tflite_file.write(Model((b.graph("main", [frame], [x]), once.graph("once", [], []))))


@pytest.mark.parametrize("layer", ["depthwise", "pool"])
def test_what_streaming_runs_later_sees_the_variable_as_it_was(
    layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "LEAST_SAVING", -1.0)
    model = seen_before_it_is_assigned(layer)
    project = generate(model, core=M3)
    inputs = stimuli(project.inputs[0].shape, 20)
    answers = run_host(compile_host(project, tmp_path, *SANITIZERS), project, [inputs])
    np.testing.assert_array_equal(next(iter(answers.values())), reference(model, [inputs])[0])
