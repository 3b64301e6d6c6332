"""Instructions: that none is in an image that its core lacks, and how many an inference takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from multigraft.errors import ConversionError
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES, CoreFeatures
from multigraft.firmware_gen.boards.toolchain import toolchain_of
from multigraft.firmware_gen.inspection.instruction_check import check_instructions
from multigraft.firmware_gen.inspection.instruction_count import image_sizes
from multigraft.firmware_gen.project.folder import build_folder, write_folder
from tests.firmware_gen import tiny_model
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.counting import count_instructions
from tests.firmware_gen.models import residual

FOREIGN = [
    ("m3", "m4", "smlad r0, r1, r2, r3", "smlad"),
    ("m3", "m4", "uxtb16 r0, r1", "uxtb16"),
    ("m3", "m4", "vadd.f32 s0, s1, s2", "vadd.f32"),
    ("m4", "m7", "vrintz.f32 s0, s1", "vrintz.f32"),
    ("m4", "m55", "vadd.i32 q0, q1, q2", "vadd.i32"),
    ("m33", "m55", "vmladava.s8 r0, q0, q1", "vmlava.s8"),
    ("m7", "m55", "vldrb.u8 q0, [r0], #16", "vldrb.u8"),
    ("m33", "m55", "dls lr, r0", "dls"),
    ("m7", "m33", "lda r0, [r1]", "lda"),
    ("m33", "m55", "csel r0, r1, r2, eq", "csel"),
    ("m0plus", "m3", "movw r0, #1234", "movw"),
    ("m0plus", "m3", "ldr.w r0, [r1, #400]", "ldr.w"),
    ("m0plus", "m3", "udiv r0, r1, r2", "udiv"),
]


def assembled(core: CoreFeatures, text: str, folder: Path) -> Path:
    image = folder / "one.o"
    head = ".syntax unified\n.thumb\n" if core.architecture == "arm" else ""
    command = [toolchain_of(core).tool("gcc"), *core.gcc_flags, "-c", "-x", "assembler", "-", "-o", str(image)]
    subprocess.run(command, input=f"{head}{text}\n", text=True, check=True)
    return image


@needs_tools
@pytest.mark.parametrize(("core", "has_it", "text", "named"), FOREIGN)
def test_an_instruction_the_core_lacks_is_found(core: str, has_it: str, text: str, named: str, tmp_path: Path) -> None:
    image = assembled(CORES[has_it], text, tmp_path)
    assert check_instructions(CORES[has_it], image) == []
    offences = check_instructions(CORES[core], image)
    assert [offence.text.split()[0] for offence in offences] == [named]


@needs_tools
def test_floating_point_is_found_on_a_risc_v_core_without(tmp_path: Path) -> None:
    core = CORES["rv32imc"]
    image = assembled(core, ".option arch, +f\nfadd.s fa0, fa1, fa2", tmp_path)
    assert [offence.text.split()[0] for offence in check_instructions(core, image)] == ["fadd.s"]


@needs_tools
@pytest.mark.parametrize("name", BOARDS)
def test_no_image_of_any_board_holds_an_instruction_its_core_lacks(name: str, tmp_path: Path) -> None:
    """Every image or library a board's project makes, with kernels of convolutions, pools, sums and a softmax."""
    board = BOARDS[name]
    core = CORES[board.core]
    write_folder(generate(residual(size=8), core=core), board, "ab" * 32, tmp_path)
    for variables in (["PROTOCOL=frames"], ["PROTOCOL=mlperf"], ["PROFILE=1"]) if board.uart else (["library"],):
        build_folder(tmp_path, *variables)
    built = sorted(p for p in (tmp_path / "build").rglob("*") if p.suffix in (".elf", ".a"))
    in_place = board.slots is not None and board.slots.in_place
    assert len(built) == (1 if board.uart is None else 7 if in_place else 4 if board.slots else 3)
    for image in built:
        assert check_instructions(core, image) == [], image
    smaller = {"m4": "m3", "m7": "m3", "m33": "m3", "m55": "m33", "m3": "m0plus"}.get(board.core)
    if smaller is not None:
        # Not of each: a boot loader has no kernels.
        assert any(check_instructions(CORES[smaller], image) for image in built)


@needs_tools
def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("nothing")
    with pytest.raises(ConversionError, match="cannot be disassembled"):
        check_instructions(CORES["m4"], tmp_path / "text")
    with pytest.raises(ConversionError, match="holds no instruction"):
        check_instructions(CORES["m4"], assembled(CORES["m4"], "", tmp_path))


LOOP = {
    "arm": "mov r0, #100\nmg_step_0_7: 1: subs r0, #1\n bne 1b\nmg_step_1_8: movs r0, #0\n bx lr",
    "riscv": "li a0, 100\nmg_step_0_7: 1: addi a0, a0, -1\n bnez a0, 1b\nmg_step_1_8: li a0, 0\n ret",
}


@needs_tools
@pytest.mark.parametrize("name", ["mps2-an386", "mps2-an385", "qemu-virt-rv32"])
def test_instructions_are_counted_to_the_last_one(name: str, tmp_path: Path) -> None:
    pytest.importorskip("serial")
    board = BOARDS[name]
    tiny_model.write_project(board, tmp_path)
    model = (tmp_path / "src/model.c").read_text().partition("#ifdef MODEL_PROFILE")[0]
    body = LOOP[CORES[board.core].architecture].replace("\n", "\\n")
    loop = (
        f'int model_run(uint32_t mask);\n__attribute__((naked)) int model_run(uint32_t mask) {{ __asm("{body}"); }}\n'
    )
    (tmp_path / "src/model.c").write_text(
        model + loop.replace("uint32_t mask) {", "uint32_t mask __attribute__((unused))) {")
    )
    done = subprocess.run(["make", "-C", str(tmp_path), "PROTOCOL=bench"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    image = tmp_path / "build/bench/firmware.elf"
    counted = count_instructions(board, image)
    assert counted.functions == {"model_run": 1 + 2 * 100 + 2}
    assert counted.total == 203
    assert counted.steps == {-1: 1, 0: 200, 1: 2}
    assert count_instructions(board, image) == counted
    sizes = image_sizes(board, image)
    assert 500 < sizes.flash < 4000
    assert sizes.data == 0
