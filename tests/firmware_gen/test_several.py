"""Several models in one image: names of their own, one arena in which they take turns, and answers as if alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.main import main
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.errors import UsageError
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.memory.regions import Space
from multigraft.firmware_gen.project.folder import ProjectFolder, build_folder
from multigraft.firmware_gen.project.naming import in_c, prefix_of
from multigraft.firmware_gen.several import generate_several
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.exits import bundles as exits_bundles
from tests.firmware_gen.host import WARNINGS
from tests.firmware_gen.models import real_valued, remembering, residual

EMULATED_S = 120


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A network, one with variables and one of real values, as files."""
    monkeypatch.chdir(tmp_path)
    for name, model in (("Seen 1", residual()), ("heard", remembering(None)), ("felt", real_valued())):
        Path(f"{name}.tflite").write_bytes(model)
    return ["Seen 1.tflite", "ear=heard.tflite", "felt.tflite"]


def names_in(library: Path) -> set[str]:
    said = subprocess.run(["arm-none-eabi-nm", "-g", "--defined-only", library], capture_output=True, text=True)
    return {line.split()[2] for line in said.stdout.splitlines() if len(line.split()) == 3}


@needs_tools
def test_models_of_one_image_answer_as_if_alone(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Asked one by one, in turns and all at once, in an emulated Cortex-M4 over its UART."""
    assert main(["firmware", *models, "--board", "mps2-an386", "-o", "fw"]) == 0
    build_folder(Path("fw"))
    build_folder(Path("fw"), "library")
    assert {n.partition("_")[0] for n in names_in(Path("fw/build/libmodel.a"))} == {"seen", "ear", "felt", "models"}
    folder = ProjectFolder.open(Path("fw"))
    inputs, outputs = folder.golden()
    assert {name.partition("/")[0] for name in inputs} == {"seen_1", "ear", "felt"}
    emulated = EmulatedBoard(folder.board, folder.image())
    with emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        target = Target(link, timeout_s=EMULATED_S)
        tasks = list(target.info.tasks)
        assert tasks == ["seen_1", "ear/features", "ear/after", "felt"]
        for case in range(2):
            given = {name: array[case] for name, array in inputs.items()}
            for asked in (tasks[:1], tasks[1:3], tasks[3:]):
                answer = target.infer(given, asked)
                assert answer.outputs
                for name, values in answer.outputs.items():
                    np.testing.assert_array_equal(values, outputs[name][case])
    capsys.readouterr()
    assert main(["firmware", "verify", "fw", "--qemu", "--timeout", str(EMULATED_S)]) == 0
    assert "8 golden cases equal bit for bit" in capsys.readouterr().out
    build_folder(Path("fw"), "PROFILE=1")


def test_the_arena_is_as_large_as_the_largest_needs() -> None:
    alone = [generate(model, core=M3) for model in (residual(), real_valued())]
    together = generate_several({"a": residual(), "b": real_valued()}, core=M3, name="both")
    assert together.arena_bytes == max(p.arena_bytes for p in alone) < sum(p.arena_bytes for p in alone)
    assert together.constant_bytes == sum(p.constant_bytes for p in alone)
    assert f"bytes[{together.arena_bytes}]" in together.files["both_arena.h"]
    assert [s.operator for s in together.steps] == [s.operator for p in alone for s in p.steps]


def test_an_example_asks_every_model(models: list[str], tmp_path: Path) -> None:
    """Zephyr's example is plain C: it runs here."""
    assert main(["firmware", *models, "--board", "esp32c3", "--prefix", "all", "-o", "fw"]) == 0
    sources = ["fw/examples/zephyr/main.c", *map(str, sorted(Path("fw/src").glob("*.c")))]
    subprocess.run(["gcc", *WARNINGS, "-Ifw/src", *sources, "-o", "answer"], check=True)
    said = subprocess.run(["./answer"], capture_output=True, text=True, check=True).stdout
    assert [line.partition(":")[0] for line in said.splitlines()] == [
        "seen_1 main", "ear features", "ear after", "felt main"
    ]  # fmt: skip
    assert "add_library(all STATIC" in Path("fw/CMakeLists.txt").read_text()
    assert "config MULTIGRAFT_ALL" in Path("fw/zephyr/Kconfig").read_text()
    assert "CONFIG_MULTIGRAFT_ALL=y" in Path("fw/examples/zephyr/prj.conf").read_text()


@needs_tools
def test_one_model_has_a_prefix_if_asked_for(models: list[str]) -> None:
    assert main(["firmware", "heard.tflite", "--board", "nano33ble", "--prefix", "ear", "-o", "fw"]) == 0
    build_folder(Path("fw"))
    assert names_in(Path("fw/build/libmodel.a")) == {
        "ear_run", "ear_inputs", "ear_outputs", "ear_tasks", "ear_reset"
    }  # fmt: skip
    assert not re.search(r"\b(model|MODEL)_(?!PROFILE|STEP_LABELS)", Path("fw/src/ear.h").read_text())


def test_names_of_users_stay_in_strings() -> None:
    text = '#include "model.h"\n/* model_run */ int x = MODEL_INPUT_COUNT; const char *s = "model_run \\" model_x";'
    assert in_c(text, "ear") == (
        '#include "ear.h"\n/* ear_run */ int x = EAR_INPUT_COUNT; const char *s = "model_run \\" model_x";'
    )
    assert prefix_of("KWS ref-Model (2)") == "kws_ref_model_2"
    assert prefix_of("2nd") == "model_2nd"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["string=felt.tflite", "heard.tflite"], "there is a header string.h already"),
        (["a=felt.tflite", "a=heard.tflite"], "two models are called 'a'"),
        (["a=felt.tflite", "a_task=heard.tflite"], "names of 'a' and 'a_task' would clash"),
        (["mg_conv=felt.tflite"], "names of 'mg' and 'mg_conv' would clash"),
        (["model=felt.tflite", "heard.tflite"], "'model' is what all models together are called"),
        (["felt.tflite", "--prefix", "Felt!"], "'Felt!' cannot begin names in C"),
        (["felt.tflite", "gone.tflite"], "gone.tflite"),
    ],
)
def test_names_that_would_clash_are_refused(
    arguments: list[str], said: str, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["firmware", *arguments, "--board", "mps2-an386", "-o", "fw"]) in (2, 78)
    assert said in capsys.readouterr().err
    assert not Path("fw").exists()


def test_variables_of_all_models_have_to_fit() -> None:

    needed = generate(remembering(None), core=M3)
    size = needed.arena_bytes + needed.variable_bytes
    models = {"a": remembering(None), "b": remembering(None)}
    with pytest.raises(UsageError, match="too few"):
        generate_several(models, core=M3, name="both", spaces=[Space("RAM", size)])
    fits = generate_several(models, core=M3, name="both", spaces=[Space("RAM", size + needed.variable_bytes)])
    assert fits.variable_bytes == 2 * needed.variable_bytes


def test_a_frame_that_leaves_one_model_still_runs_the_others() -> None:
    """MACs of an exit are of all tasks, as those beside which the report says them."""
    early, other = exits_bundles.build(), residual()
    alone, beside = generate(early, core=M3), generate(other, core=M3)
    both = generate_several({"one": early, "two": other}, core=M3, name="both")
    more = sum(s.macs for s in beside.steps)
    assert more > 0
    assert [e.macs for e in both.exits] == [e.macs + more for e in alone.exits]
