"""Buffers over several memories: nothing overlaps, every region holds its share, and the first takes least."""

from __future__ import annotations

import itertools
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.cli.shared.board_options import EMULATED_TIMEOUT_S
from multigraft.devices.target.golden import verify_target
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.errors import UsageError
from multigraft.files import sha256_of
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.board import Region
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES, M3, M4, CoreFeatures
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.inspection.report import draw_report, report_of, report_text
from multigraft.firmware_gen.memory.planner import ArenaPlan, Buffer, Sharing, plan
from multigraft.firmware_gen.memory.regions import Space, spread
from multigraft.firmware_gen.project.arena_spaces import spaces_of
from multigraft.firmware_gen.project.folder import IMAGE, build_folder, write_folder
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.host import SANITIZERS, compile_host, reference, run_host, stimuli
from tests.firmware_gen.memory.test_planner import assert_valid, problems
from tests.firmware_gen.models import Builder, activation, ints, residual


def two_maps(size: int) -> bytes:
    """Each of two maps is multiplied by the mean of the other: both have to be there, however layers are streamed."""
    b = Builder(0)
    b.add(activation("image", (1, size, size, 3), 1 / 128, 0))
    maps = [b.conv("near", "image", 8), b.conv("far", "image", 8)]
    b.add(ints("axes", [1, 2]))
    one, whole = activation("", (1, 1, 1, 8), 0.05), activation("", b.tensors[maps[0]].shape, 0.05)
    means = [b.plain("MEAN", f"mean of {m}", [m, "axes"], one, keep_dims=True) for m in maps]
    times = [
        b.plain("MUL", f"{m} times", [m, mean], whole, fused_activation_function="NONE")
        for m, mean in zip(maps, means[::-1], strict=True)
    ]
    return b.model(["image"], [b.plain("MEAN", f"end of {m}", [m, "axes"], one, keep_dims=True) for m in times])


def split(buffers: list[Buffer], sharings: list[Sharing], made: ArenaPlan, spaces: list[Space]) -> None:
    """Every region on its own is a valid plan within its size."""
    sizes = (made.size, *made.elsewhere)
    for k, space in enumerate(spaces[: len(sizes)]):
        here = [b for b in buffers if made.regions.get(b.name, 0) == k]
        names = {b.name for b in here}
        inside = [s for s in sharings if {s.output, s.source} <= names]
        assert_valid(here, inside, ArenaPlan({n: made.offsets[n] for n in names}, sizes[k], 0))
        assert sizes[k] <= space.size
        assert space.dma or not any(b.dma for b in here)


def by_trying_everything(buffers: list[Buffer], sharings: list[Sharing], spaces: list[Space]) -> int | None:
    """The least of the first space over all choices of regions, each planned on its own."""
    best = None
    for regions in itertools.product(range(len(spaces)), repeat=len(buffers)):
        if any(b.dma and not spaces[k].dma for b, k in zip(buffers, regions, strict=True)):
            continue
        sizes = []
        for k in range(len(spaces)):
            here = [b for b, chosen in zip(buffers, regions, strict=True) if chosen == k]
            names = {b.name for b in here}
            made = plan(here, [s for s in sharings if {s.output, s.source} <= names], nodes=100_000)
            assert made.optimal
            sizes.append(made.size)
        if all(size <= space.size for size, space in zip(sizes, spaces, strict=True)):
            best = sizes[0] if best is None else min(best, sizes[0])
    return best


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(1, 24), st.integers(1, 12), st.booleans())
def test_no_choice_of_regions_takes_less_of_the_first(
    problem: tuple[list[Buffer], list[Sharing]], first: int, second: int, dma: bool
) -> None:
    buffers, sharings = problem
    buffers = [Buffer(b.name, b.size, b.first, b.last, dma and i == 0) for i, b in enumerate(buffers[:5])]
    names = {b.name for b in buffers}
    sharings = [s for s in sharings if {s.output, s.source} <= names]
    spaces = [Space("RAM", 4 * first), Space("CCM", 4 * second, dma=False)]
    made = spread(buffers, spaces, sharings)
    least = by_trying_everything(buffers, sharings, spaces)
    if made is None:
        assert least is None
        return
    split(buffers, sharings, made, spaces)
    alone = plan(buffers, sharings)
    if alone.size <= spaces[0].size:
        assert made == alone
    else:
        assert made.optimal
        assert made.size == least


def test_a_network_too_large_for_one_memory_fits_into_three() -> None:
    random = np.random.default_rng(0)
    sizes = [int(s) * 64 for s in random.integers(8, 120, 30)]
    buffers = [Buffer(f"layer{i}", size, i, i + 1, dma=i in (0, 29)) for i, size in enumerate(sizes)]
    buffers += [Buffer(f"skip{i}", 2048, i, i + 6) for i in range(0, 24, 6)]
    alone = plan(buffers)
    spaces = [Space("RAM", alone.size - 1024), Space("CCM", 4096, dma=False), Space("SCRATCH", 2048)]
    made = spread(buffers, spaces)
    assert made is not None
    split(buffers, [], made, spaces)
    assert made.size < alone.size - 2048
    assert made.optimal
    assert spread(buffers, [Space("RAM", made.size - 64), *spaces[1:]]) is None


def two_memories(core: CoreFeatures = M3) -> tuple[bytes, int, tuple[Space, Space]]:
    """A network, the bytes it needs in one memory, and two memories that hold it only together."""
    model = residual()
    alone = generate(model, core=core).arena_bytes
    return model, alone, (Space("RAM", alone - 400), Space("CCM", 800, False, ".bss.region_CCM"))


def test_a_network_in_two_memories_is_bit_exact_on_the_host(tmp_path: Path) -> None:
    model, alone, spaces = two_memories()
    project = generate(model, core=M3, spaces=spaces)
    assert [r.name for r in project.regions] == ["RAM", "CCM"]
    assert project.plan.optimal
    assert project.plan.size <= spaces[0].size < alone
    assert all(p.region == 0 for p in (*project.inputs, *project.outputs))
    inputs = stimuli(project.inputs[0].shape, 60)
    host = compile_host(project, tmp_path, *SANITIZERS)
    np.testing.assert_array_equal(run_host(host, project, [inputs])["answer"], reference(model, [inputs])[0])


def test_the_report_shows_every_region(tmp_path: Path) -> None:
    model, _, spaces = two_memories()
    report = report_of(generate(model, core=M3, spaces=spaces), "some")
    by_region = {r["name"]: r["bytes"] for r in report["regions"]}
    assert report["ram_bytes"] == sum(by_region.values())
    for name, size in by_region.items():
        ends = [b["offset"] + b["bytes"] for b in report["buffers"] if b["region"] == name]
        assert size - 4 < max(ends) <= size
    text = report_text(report)
    assert "proven optimal" in text
    assert f"of it in CCM      {by_region['CCM']:>10} of 800" in text
    draw_report(report, tmp_path / "ram.svg")
    assert "bytes of CCM" in (tmp_path / "ram.svg").read_text().replace("&#x", "")


def test_a_network_that_fits_nowhere_says_what_is_missing() -> None:
    model, alone, spaces = two_memories()
    with pytest.raises(
        UsageError, match=f"needs {alone} bytes of RAM .* 500 bytes in RAM and 800 .*, {alone - 1300} too"
    ):
        generate(model, core=M3, spaces=(replace(spaces[0], size=500), spaces[1]))
    with pytest.raises(UsageError, match="over which it cannot be spread"):
        generate(model, core=M3, spaces=(replace(spaces[0], size=alone - 8), replace(spaces[1], size=8)))


@needs_tools
def test_a_network_in_two_memories_is_bit_exact_in_qemu(tmp_path: Path) -> None:
    pytest.importorskip("serial")
    model, alone, _ = two_memories(M4)
    given = generate(model, core=M3).inputs[0].size
    own = BOARDS["mps2-an386"].region("ram").size - spaces_of(BOARDS["mps2-an386"], given)[0].size
    flash = BOARDS["mps2-an386"].region("flash")
    regions = (
        flash,
        Region("RAM", "ram", 0x2000_0000, own + alone - 400 & ~7),
        Region("PSRAM", "ram", 0x2100_0000, 1200, dma=False),
    )
    board = replace(BOARDS["mps2-an386"], regions=regions)
    project = generate(model, core=CORES[board.core], spaces=spaces_of(board, given))
    assert [r.name for r in project.regions] == ["RAM", "PSRAM"]
    write_folder(project, board, sha256_of(model), tmp_path)
    build_folder(tmp_path)
    assert (tmp_path / (IMAGE + ".bin")).stat().st_size < 1 << 20
    inputs = stimuli(project.inputs[0].shape, 40)
    with EmulatedBoard(board, tmp_path / (IMAGE + ".elf")) as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        target = Target(link, timeout_s=EMULATED_TIMEOUT_S)
        wanted = {"answer": reference(model, [inputs])[0]}
        assert verify_target(target, {project.inputs[0].name: inputs}, wanted, sha256_of(model)).wrong == ()
        memory = target.memory()
    assert memory.ram_there == sum(r.size for r in regions[1:])
    assert project.arena_bytes < memory.ram_used <= memory.ram_there
    assert memory.ram_used + memory.stack_peak <= memory.ram_there


@needs_tools
def test_the_linker_puts_the_second_part_into_core_coupled_memory(tmp_path: Path) -> None:
    """QEMU 7.2 has no such memory on this board, so where it lies is all that shows."""
    board = BOARDS["netduinoplus2"]
    model = two_maps(88)
    project = generate(model, core=M4, spaces=spaces_of(board, 88 * 88 * 3))
    assert [r.name for r in project.regions] == ["RAM", "CCM"]
    write_folder(project, board, sha256_of(model), tmp_path)
    build_folder(tmp_path)
    said = subprocess.run(
        ["arm-none-eabi-nm", str(tmp_path / (IMAGE + ".elf"))], capture_output=True, text=True, check=True
    )
    places = {line.split()[-1]: int(line.split()[0], 16) for line in said.stdout.splitlines()}
    assert places["arena_1"] == 0x1000_0000
    assert places["arena"] >= 0x2000_0000
    assert (tmp_path / (IMAGE + ".bin")).stat().st_size < 40_000


@needs_tools
def test_a_frameworks_section_takes_the_second_part(tmp_path: Path) -> None:
    board = BOARDS["pico"]
    first, *banks = spaces_of(board, 0)
    core = CORES[board.core]
    model = residual()
    alone = generate(model, core=core).arena_bytes
    project = generate(model, core=core, spaces=(replace(first, size=alone - 200), *banks))
    write_folder(project, board, sha256_of(model), tmp_path)
    build_folder(tmp_path)
    object_file = str(tmp_path / "build/model/src/model.o")
    said = subprocess.run(["arm-none-eabi-objdump", "-h", object_file], capture_output=True, text=True, check=True)
    used = {name for name in (".scratch_x.model", ".scratch_y.model") if name in said.stdout}
    assert used
    assert used == {f".{r.name.lower()}.model" for r in project.regions if r.name != "RAM"}
