"""Generated kernels as machine code on emulated cores: the same bits as tflite-runtime's reference kernels."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.shared.board_options import EMULATED_TIMEOUT_S
from multigraft.devices.target.golden import verify_target
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.files import sha256_of
from multigraft.firmware_gen import generate, generator
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.boards.toolchain import APT_PACKAGES
from multigraft.firmware_gen.inspection.instruction_check import check_instructions
from multigraft.firmware_gen.inspection.reference import golden_vectors
from multigraft.firmware_gen.passes import streaming
from multigraft.firmware_gen.program.program import load
from multigraft.firmware_gen.project import emission
from multigraft.firmware_gen.project.folder import build_folder, write_folder
from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import OptionValue
from tests.firmware_gen import batch
from tests.firmware_gen.batch import BOARD_OF_CORE, wrong_cases
from tests.firmware_gen.borders import apart
from tests.firmware_gen.host import reference
from tests.firmware_gen.models import (
    Builder,
    activation,
    ints,
    narrow,
    real_valued,
    residual,
    separable,
    streamed,
)

VECTOR_BOARDS = ("mps2-an386", "mps3-an547")
"""Cortex-M4 with DSP instructions, Cortex-M55 with Helium."""
MODELS = batch.models_in(os.environ.get("MULTIGRAFT_BENCH_MODELS"))
"""Further int8 models and bundles that everything has to be bit-exact on; that takes minutes."""
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm", "riscv64-unknown-elf-gcc", "qemu-system-riscv32")

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in TOOLS), reason=f"firmware tools: install {' '.join(APT_PACKAGES)}"
)


def zoo() -> bytes:
    """Linear layers of all shapes the fast kernels tell apart, each an output and so a task of its own."""
    b = Builder(5)
    b.add(activation("in", (1, 9, 7, 4), 0.03, -7))
    odd = b.conv("odd", "in", 5, kernel=(2, 2))
    wide = b.conv("wide", "in", 32, kernel=(1, 1))
    outputs = [
        odd,
        b.conv("narrow", odd, 6, fused="NONE", scale=0.1, zero_point=9),
        b.conv("strided", "in", 8, stride=2),
        b.conv("valid", "in", 12, padding="VALID", fused="RELU6", scale=0.03),
        b.conv("dilated", "in", 4, dilation=2),
        b.conv("dilated_odd", odd, 4, dilation=2),
        b.conv("pointwise", "in", 16, kernel=(1, 1), fused="NONE", zero_point=-20),
        b.conv("pointwise_odd", odd, 3, kernel=(1, 1)),
        b.conv("tall", "in", 8, kernel=(5, 2)),
        b.conv("depthwise", "in", 4, depthwise=True),
        b.conv("depthwise_odd", odd, 5, depthwise=True, fused="RELU6", scale=0.02),
        b.conv("depthwise_strided", "in", 4, depthwise=True, stride=2),
        b.conv("depthwise_valid", "in", 4, depthwise=True, padding="VALID"),
        b.conv("depthwise_5x5", "in", 4, depthwise=True, kernel=(5, 5)),
        b.conv("depthwise_open", "in", 4, depthwise=True, fused="NONE", zero_point=15),
        b.conv("depthwise_wide", wide, 32, depthwise=True, stride=2, fused="NONE", zero_point=-2),
        b.conv("depthwise_wide_dilated", wide, 32, depthwise=True, dilation=2, kernel=(2, 3)),
        b.conv("steep", "in", 4, kernel=(1, 1), fused="NONE", scale=0.0001),
        b.conv("unequal_strides", "in", 8, stride=(1, 3), kernel=(2, 4)),
        b.conv("unequal_dilations", "in", 5, dilation=(3, 1), kernel=(2, 3)),
        b.conv("unequal_depthwise", "in", 4, depthwise=True, stride=(3, 2)),
        b.conv("unequal_depthwise_dilated", wide, 32, depthwise=True, dilation=(1, 3), kernel=(4, 2)),
        b.conv("unequal_depthwise_strided", wide, 32, depthwise=True, stride=(1, 2), kernel=(5, 3)),
    ]
    return b.model(["in"], outputs)


def mobile() -> bytes:
    """Depthwise and pointwise layers in a row, so that each may run in the memory of what it reads."""
    b = Builder(7)
    x = b.add(activation("in", (1, 13, 11, 3), 0.03, -7))
    x = b.conv("depthwise_0", b.conv("pointwise_0", x, 20, kernel=(1, 1)), 20, depthwise=True, stride=(2, 1))
    x = b.conv("depthwise_1", b.conv("pointwise_1", x, 20, kernel=(1, 1)), 20, depthwise=True, dilation=(1, 3))
    x = b.conv("pointwise_2", x, 20, kernel=(1, 1))
    x = b.conv("depthwise_2", x, 20, depthwise=True, kernel=(5, 3), fused="NONE", zero_point=4)
    x = b.conv("depthwise_3", b.conv("pointwise_3", x, 20, kernel=(1, 1)), 20, depthwise=True, dilation=2)
    x = b.conv("pointwise_4", x, 20, kernel=(1, 1))
    x = b.conv("depthwise_4", x, 20, depthwise=True, padding="VALID", kernel=(3, 2))
    return b.model(["in"], [x])


def few_outputs() -> bytes:
    """Depthwise layers whose outputs are computed pixel by pixel: of odd and even runs of taps, of channels that are no
    multiple of four, of several outputs a channel; by one multiplication and by the reference's own two."""
    b = Builder(8)
    b.add(activation("in", (1, 15, 14, 8), 0.03, -7))
    b.add(activation("two", (1, 21, 18, 2), 0.03, 12))
    six = b.conv("six", "in", 6, kernel=(1, 1))
    outputs = [
        b.conv("three", "in", 8, depthwise=True, stride=3),
        b.conv("three_open", "in", 8, depthwise=True, stride=3, fused="NONE", zero_point=15),
        b.conv("three_six", six, 6, depthwise=True, stride=3, fused="RELU6", scale=0.02),
        b.conv("even", "in", 8, depthwise=True, stride=2, kernel=(2, 2), padding="VALID"),
        b.conv("wide", "in", 8, depthwise=True, stride=(3, 4), kernel=(2, 5)),
        b.conv("tall", six, 6, depthwise=True, stride=4, kernel=(9, 4), fused="NONE", zero_point=3),
        b.conv("whole", "in", 8, depthwise=True, kernel=(15, 14), padding="VALID"),
        b.conv("times", "two", 8, depthwise=True, stride=2, kernel=(10, 8)),
        b.conv("times_open", "two", 16, depthwise=True, stride=3, kernel=(5, 3), fused="NONE", zero_point=-9),
    ]
    return b.model(["in", "two"], outputs)


def multiplied() -> bytes:
    """Depthwise layers of several outputs a channel, in bands that may lie over inputs of bands before."""
    b = Builder(4)
    b.add(activation("in", (1, 19, 12, 4), 0.03, -7))
    b.add(activation("other", (1, 23, 16, 3), 0.03, -7))
    times = b.conv("times", "in", 16, depthwise=True)
    return b.model(["in", "other"], [times, b.conv("more", "other", 6, depthwise=True, kernel=(5, 2), stride=(2, 1))])


def dense_layers() -> bytes:
    """Dense layers of one row and of several, of inputs and outputs that are no multiples of anything."""
    b = Builder(9)
    b.add(activation("in", (1, 37), 0.03, -7))
    b.add(activation("rows", (3, 38), 0.03, 5))
    outputs = [b.dense("wide", "in", 21), b.dense("per_channel", "in", 8, scale=0.05, per_channel=True)]
    outputs.append(b.dense("even", outputs[0], 6, scale=0.003, zero_point=-100))
    outputs.append(b.dense("one", outputs[2], 1))
    outputs.append(b.dense("fused", outputs[0], 7, zero_point=-128, fused="RELU"))
    outputs.append(b.dense("fused_fours", "in", 12, zero_point=-128, fused="RELU", per_channel=True))
    outputs.append(b.dense("steep", outputs[1], 4, scale=0.0001))
    outputs.append(b.dense("several", "rows", 5))
    return b.model(["in", "rows"], outputs)


def small_operators() -> bytes:
    """Additions of every form, products, pools and means, of channels that fill no vector."""
    b = Builder(6)
    b.add(activation("in", (1, 9, 7, 21), 0.03, -7))
    other = b.conv("other", "in", 21, kernel=(1, 1), fused="NONE", scale=0.1, zero_point=9)
    values = b.random.integers(-128, 128, 21).astype(np.int8)
    channels = b.add(replace(activation("channels", (21,), 0.05, 3), data=values))
    same = b.tensors["in"].shape
    options: dict[str, OptionValue] = {"fused_activation_function": "NONE"}
    pool: dict[str, OptionValue] = {
        "stride_w": 3,
        "stride_h": 2,
        "filter_height": 3,
        "filter_width": 4,
        "padding": "SAME",
    }
    smaller = activation("", (1, 5, 3, 21), 0.03, -7)
    outputs = [
        b.plain("ADD", "narrow", ["in", other], activation("", same, 0.11, 4), **options),
        b.plain("ADD", "saturating", ["in", other], activation("", same, 0.0123, 4), **options),
        b.plain("SUB", "sub", [other, "in"], activation("", same, 0.2, -11), fused_activation_function="RELU"),
        b.plain("ADD", "channelwise", [other, channels], activation("", same, 0.09, 0), **options),
        b.plain("MUL", "mul", ["in", other], activation("", same, 0.02, 5), **options),
        b.plain("MUL", "mul_channels", [channels, "in"], activation("", same, 0.013, -5), **options),
        b.plain(
            "MEAN", "global", ["in", b.add(ints("axes", [1, 2]))], activation("", (1, 21), 0.011, 5), keep_dims=False
        ),
        b.plain("AVERAGE_POOL_2D", "mean", ["in"], smaller, **options, **pool),
        b.plain("MAX_POOL_2D", "most", ["in"], smaller, fused_activation_function="RELU", **pool),
    ]
    return b.model(["in"], outputs)


@pytest.mark.parametrize("board", BOARD_OF_CORE.values())
def test_a_network_is_bit_exact_on_100_inputs_on_every_core(board: str, tmp_path: Path) -> None:
    assert wrong_cases(residual(), board, 100, tmp_path) == []


def test_a_small_network_is_bit_exact_on_100_inputs_on_the_smallest_core(tmp_path: Path) -> None:
    assert wrong_cases(residual(size=8), "microbit", 100, tmp_path) == []


def test_the_batch_finds_a_wrong_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_bit_off(model: bytes, inputs: list[Array]) -> list[Array]:
        answers = reference(model, inputs)
        answers[0][7].flat[-1] ^= 1
        return answers

    monkeypatch.setattr(batch, "reference", one_bit_off)
    assert wrong_cases(residual(size=8), "mps2-an386", 10, tmp_path) == [7]


@pytest.mark.parametrize("board", VECTOR_BOARDS)
def test_every_shape_of_layer_is_bit_exact_in_vector_instructions(board: str, tmp_path: Path) -> None:
    assert wrong_cases(zoo(), board, 40, tmp_path) == []


def test_helium_is_in_images_of_cores_that_have_it_only(tmp_path: Path) -> None:
    assert wrong_cases(mobile(), "mps3-an547", 4, tmp_path) == []
    foreign = {o.text.split()[0] for o in check_instructions(CORES["m33"], tmp_path / "build/batch/firmware.elf")}
    assert {"vmlava.s8", "vmullb.s8", "vqrdmulh.s32", "vrshl.s32"} <= foreign


def test_small_operators_are_bit_exact_in_vector_instructions(tmp_path: Path) -> None:
    assert wrong_cases(small_operators(), "mps3-an547", 40, tmp_path) == []


@pytest.mark.parametrize("board", [*VECTOR_BOARDS, "mps2-an385"])
def test_dense_layers_are_bit_exact(board: str, tmp_path: Path) -> None:
    assert wrong_cases(dense_layers(), board, 40, tmp_path) == []


@pytest.mark.parametrize("board", VECTOR_BOARDS)
def test_depthwise_layers_in_place_are_bit_exact_in_vector_instructions(board: str, tmp_path: Path) -> None:
    assert wrong_cases(mobile(), board, 40, tmp_path) == []


@pytest.mark.parametrize("make", [few_outputs, multiplied])
def test_depthwise_layers_of_other_shapes_are_bit_exact(make: Callable[[], bytes], tmp_path: Path) -> None:
    assert wrong_cases(make(), "mps2-an386", 40, tmp_path) == []


def test_pixel_by_pixel_all_kinds_of_depthwise_layers_are_tried() -> None:
    text = generate(few_outputs(), core=CORES["m4"]).files["model.c"]
    assert all(f"mg_direct_{kind}(" in text for kind in ("four", "one", "four_sums", "one_sums"))


def test_several_outputs_a_channel_take_no_more_memory_than_input_and_output() -> None:
    """CMSIS-NN needs both for such layers; here a band of rows comes beside them, and outputs lie over inputs."""
    for channels, multiplier in ((8, 4), (4, 2), (16, 3)):
        b = Builder(1)
        b.add(activation("in", (1, 24, 24, channels), 0.03, -7))
        model = b.model(["in"], [b.conv("out", "in", channels * multiplier, depthwise=True)])
        assert generate(model, core=CORES["m4"]).arena_bytes <= 24 * 24 * channels * (1 + multiplier)


@pytest.mark.parametrize("board", VECTOR_BOARDS)
def test_streamed_convolutions_are_bit_exact_in_vector_instructions(board: str, tmp_path: Path) -> None:
    assert wrong_cases(streamed(), board, 40, tmp_path) == []


@pytest.mark.parametrize("make", [separable, narrow, streamed])
@pytest.mark.parametrize("board", VECTOR_BOARDS)
def test_all_that_can_be_streamed_is_bit_exact_in_vector_instructions(
    board: str, make: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "LEAST_SAVING", -1.0)
    assert wrong_cases(make(), board, 40, tmp_path) == []


@pytest.mark.parametrize(
    "make", [zoo, mobile, few_outputs, multiplied, small_operators, dense_layers, separable, narrow]
)
@pytest.mark.parametrize("board", VECTOR_BOARDS)
def test_no_vector_kernel_writes_beside_its_buffers(
    board: str, make: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sanitizers see the portable C only; here every buffer has borders, which are looked at after each inference."""
    monkeypatch.setattr(generator, "plan", apart)
    assert wrong_cases(make(), board, 8, tmp_path, bordered=True) == []


def test_a_byte_written_beside_a_buffer_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "plan", apart)
    library, last = emission.library, "    block(column, stream, pairs, to, padded / 4);\n"
    assert last in library("conv_dsp.h")
    monkeypatch.setattr(emission, "library", lambda n: library(n).replace(last, f"{last}    out[channels] = 1;\n"))
    assert wrong_cases(dense_layers(), "mps2-an386", 2, tmp_path, bordered=True) == [0, 1]


@pytest.mark.parametrize("board", ["mps2-an385", "mps2-an386"])
def test_real_inputs_and_outputs_need_no_floating_point(board: str, tmp_path: Path) -> None:
    model, core = real_valued(), CORES[BOARDS[board].core]
    inputs, outputs = golden_vectors(load(model), 20)
    np.testing.assert_array_equal(outputs["answer"], reference(model, [inputs["real"]])[0])
    folder = write_folder(generate(model, core=core), BOARDS[board], sha256_of(model), tmp_path, inputs, outputs)
    build_folder(tmp_path)
    with EmulatedBoard(BOARDS[board], folder.image()) as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        assert verify_target(Target(link, timeout_s=EMULATED_TIMEOUT_S), inputs, outputs, sha256_of(model)).wrong == ()
    symbols = subprocess.run(["arm-none-eabi-nm", str(folder.image())], capture_output=True, text=True, check=True)
    assert "__aeabi_f" not in symbols.stdout


if MODELS:

    @pytest.mark.parametrize("board", BOARD_OF_CORE.values())
    @pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
    def test_a_given_model_is_bit_exact_on_500_inputs_on_every_core(path: Path, board: str, tmp_path: Path) -> None:
        assert wrong_cases(batch.opened(str(path))[path.stem], board, 500, tmp_path) == []
