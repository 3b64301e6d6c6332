"""Whole models: bits, tasks on demand, refusals."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from multigraft.errors import InputError, UnsupportedOperatorError, UsageError
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import CORES, M0PLUS, M3, M4, CoreFeatures
from multigraft.firmware_gen.memory.regions import Space
from tests.bundle_builder import build
from tests.firmware_gen.host import SANITIZERS, compile_host, reference, run_host, stimuli
from tests.firmware_gen.models import Builder, activation, ints, residual, single, two_heads


def test_a_residual_network_is_bit_exact_on_500_inputs(tmp_path: Path) -> None:
    model = residual()
    project = generate(model, core=M3)
    inputs = stimuli(project.inputs[0].shape, 500)
    host = compile_host(project, tmp_path, *SANITIZERS)
    np.testing.assert_array_equal(run_host(host, project, [inputs])["answer"], reference(model, [inputs])[0])


def test_tasks_run_on_demand_over_one_trunk(tmp_path: Path) -> None:
    model, alone = two_heads()
    project = generate(model, core=M0PLUS)
    assert [t.name for t in project.tasks] == ["head_garment", "head_digit"]
    trunk = [s for s in project.steps if s.output == "features"]
    assert [s.tasks for s in trunk] == [0b11]
    inputs = stimuli(project.inputs[0].shape, 40)
    host = compile_host(project, tmp_path)
    both = run_host(host, project, [inputs])
    for bit, (name, single_task) in enumerate(alone.items()):
        (wanted,) = reference(single_task, [inputs])
        np.testing.assert_array_equal(both[name], wanted)
        np.testing.assert_array_equal(run_host(host, project, [inputs], 1 << bit)[name], wanted)


def test_a_bundle_gives_its_tasks_and_its_golden_answers(tmp_path: Path) -> None:
    built = build(backend="litert")
    project = generate(built.bundle, core=M3)
    assert [t.name for t in project.tasks] == ["garment", "digit"]
    host = compile_host(project, tmp_path)
    answers = run_host(host, project, [built.inputs])
    for bit, name in enumerate(("garment", "digit")):
        (wanted,) = reference(built.separate[name], [built.inputs])
        (place,) = project.tasks[bit].outputs
        np.testing.assert_array_equal(answers[project.outputs[place].name], wanted)


def test_an_unknown_task_is_refused_by_the_firmware(tmp_path: Path) -> None:
    project = generate(two_heads()[0], core=M3)
    host = compile_host(project, tmp_path)
    values = stimuli(project.inputs[0].shape, 1).tobytes()
    output_bytes = sum(o.size for o in project.outputs)
    # The main of the host program ends with 3 where model_run refuses, and prints the outputs where it does not.
    refused, answered = (3, 0), (0, output_bytes)
    for mask, wanted in ((0, refused), (4, refused), (5, refused), (1 << 31, refused), (1, answered), (3, answered)):
        sent = mask.to_bytes(4, "little") + values
        done = subprocess.run([str(host)], input=sent, capture_output=True, check=False)
        assert (done.returncode, len(done.stdout)) == wanted, mask


@pytest.mark.parametrize("core", CORES.values(), ids=CORES)
def test_equal_models_give_equal_text_on_every_core(core: CoreFeatures) -> None:
    first, second = (generate(residual(), core=core) for _ in range(2))
    assert first.files == second.files
    assert first.plan.optimal


def test_only_cores_with_dsp_instructions_get_them() -> None:
    assert "smlad" in generate(residual(), core=M4).files["model.c"]
    assert "smlad" not in generate(residual(), core=M3).files["model.c"]


@pytest.mark.parametrize(("columns", "has_dsp"), [(65_535, True), (65_536, False)])
def test_images_beyond_16_bits_are_left_to_the_portable_kernel(columns: int, has_dsp: bool) -> None:
    b = Builder()
    x = b.add(activation("x", (1, 1, columns, 2)))
    model = b.model([x], [b.conv("y", x, 2, (1, 3), depthwise=True)])
    assert ("mg_depthwise_dsp.h" in generate(model, core=M4).files) is has_dsp


def test_a_float_model_is_refused() -> None:
    model = build(float32=True).uncut
    with pytest.raises(InputError, match=r"float32, not int8 or uint8; quantise it here.*`multigraft build`"):
        generate(model, core=M3)


def test_unsupported_operators_are_named_with_the_reason() -> None:
    a, b = activation("a", (1, 4, 4, 2)), activation("b", (1, 1, 1, 3))
    model = single("ADD", [a, b], activation("out", (1, 4, 4, 2)), 2, fused_activation_function="NONE")
    with pytest.raises(UnsupportedOperatorError, match=r"ADD: .*by broadcasting.* \('out'\)"):
        generate(model, core=M3)
    model = single("ELU", [a], activation("out", (1, 4, 4, 2)))
    with pytest.raises(UnsupportedOperatorError, match="it has no kernel here"):
        generate(model, core=M3)
    network = Builder()
    network.add(a)
    for name, source in (("x", "a"), ("y", "x")):
        network.plain("ELU", name, [source], a)
    network.plain("GELU", "out", ["y"], a)
    with pytest.raises(UnsupportedOperatorError, match=r"ELU: .* \('x' and 1 more\); GELU: .* \('out'\)"):
        generate(network.model(["a"], ["out"]), core=M3)


def test_budgets_name_the_bytes_missing() -> None:
    project = generate(residual(), core=M3)
    with pytest.raises(UsageError, match=f"needs {project.arena_bytes} bytes of RAM, 1 more than"):
        generate(residual(), core=M3, ram_bytes=project.arena_bytes - 1)
    with pytest.raises(UsageError, match=r"of flash, 10 more than"):
        generate(residual(), core=M3, flash_bytes=project.constant_bytes - 10)
    assert generate(residual(), core=M3, ram_bytes=project.arena_bytes).arena_bytes == project.arena_bytes


def test_memory_that_is_taken_already_is_no_negative_memory() -> None:
    needed = generate(residual(), core=M3).arena_bytes
    said = f"needs {needed} bytes of RAM and there are 0 bytes in RAM, {needed + 13} too few"
    with pytest.raises(UsageError, match=said):
        generate(residual(), core=M3, spaces=[Space("RAM", -13)])


def test_padding_of_its_own_goes_into_the_convolution(tmp_path: Path) -> None:
    b = Builder(6)
    b.add(activation("in", (1, 8, 8, 4), 0.03, -7))
    b.add(ints("amounts", [[0, 0], [1, 2], [0, 1], [0, 0]]))
    padded = b.plain("PAD", "padded", ["in", "amounts"], activation("", (1, 11, 9, 4), 0.03, -7))
    b.conv("full", padded, 8, stride=2, padding="VALID")
    b.conv("apart", padded, 4, stride=2, padding="VALID", depthwise=True)
    model = b.model(["in"], ["full", "apart"])
    project = generate(model, core=M3)
    assert [s.operator for s in project.steps] == ["CONV_2D", "DEPTHWISE_CONV_2D"]
    inputs = stimuli(project.inputs[0].shape, 40)
    answers = run_host(compile_host(project, tmp_path), project, [inputs])
    for answer, wanted in zip(answers.values(), reference(model, [inputs]), strict=True):
        np.testing.assert_array_equal(answer, wanted)
