"""The ``firmware`` command: a folder that builds, a report, the operator table, and refusals in one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.main import main
from multigraft.firmware_gen.operators import OPERATORS
from multigraft.firmware_gen.operators.base.constraints import GENERAL
from multigraft.firmware_gen.project.folder import ProjectFolder, build_folder
from tests.bundle_builder import build
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.host import reference
from tests.firmware_gen.models import residual


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "residual.tflite"
    path.write_bytes(residual())
    return path


def test_a_model_becomes_a_project_with_golden_vectors(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "fw"
    assert main(["firmware", str(model), "--board", "mps2-an386", "-o", str(folder)]) == 0
    assert "proven optimal" in capsys.readouterr().out
    assert (folder / "src" / "model.c").is_file()
    inputs, outputs = ProjectFolder.open(folder).golden()
    (wanted,) = reference(model.read_bytes(), list(inputs.values()))
    np.testing.assert_array_equal(outputs["answer"], wanted)


def test_a_bundle_becomes_a_project_of_its_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = build().bundle.write(tmp_path / "home.graft")
    assert main(["firmware", str(bundle), "--board", "netduinoplus2", "-o", str(tmp_path / "fw"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["tasks"] == ["garment", "digit"]
    assert report["ram_bytes"] == max(b["offset"] + -(-b["bytes"] // 4) * 4 for b in report["buffers"])


def test_the_report_is_read_back_and_drawn(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, picture = tmp_path / "fw", tmp_path / "ram.png"
    main(["firmware", str(model), "--board", "mps2-an386", "-o", str(folder), "--json"])
    written = json.loads(capsys.readouterr().out)
    assert main(["firmware", "report", str(folder), "--json", "--picture", str(picture)]) == 0
    assert json.loads(capsys.readouterr().out) == written
    assert picture.read_bytes().startswith(b"\x89PNG")


@needs_tools
def test_the_report_counts_the_instructions_of_every_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    bundle, folder = build().bundle.write(tmp_path / "home.graft"), tmp_path / "fw"
    main(["firmware", str(bundle), "--board", "mps2-an386", "-o", str(folder)])
    capsys.readouterr()
    assert main(["firmware", "report", str(folder), "--qemu", "--json"]) == 0
    without_make = json.loads(capsys.readouterr().out)
    build_folder(folder)
    assert main(["firmware", "report", str(folder), "--qemu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert without_make["steps"] == report["steps"]
    convolutions = [s for s in report["steps"] if s["macs"] > 1000]
    assert len(convolutions) == 3
    # Below two instructions per MAC, but no fewer than two MACs each: SMLAD has no more.
    assert all(0.5 * s["macs"] < s["instructions"] < 2 * s["macs"] for s in convolutions), report["steps"]
    within = sum(s["instructions"] for s in report["steps"])
    assert within <= report["instructions"] <= within + 40
    assert report["constant_bytes"] < report["flash_bytes"] < 1 << 20
    assert report["ram_bytes"] < report["static_ram_bytes"]
    assert main(["firmware", "report", str(folder), "--qemu"]) == 0
    assert f"instructions       {report['instructions']:>10} per inference" in capsys.readouterr().out
    description = json.loads((folder / "project.json").read_text())
    (folder / "project.json").write_text(json.dumps({**description, "digest": "0" * 64}))
    assert main(["firmware", "report", str(folder), "--qemu"]) == 2
    assert "holds another model; build it again" in capsys.readouterr().err


def test_the_operator_table_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["firmware", "ops"]) == 0
    printed = capsys.readouterr().out
    assert all(f"| {name} |" in printed for name in OPERATORS)
    page = (Path(__file__).parents[4] / "docs" / "operators.md").read_text()
    assert page == f"# Operators\n\n`multigraft firmware ops` prints what stands below.\n\n{printed}"


def test_the_operator_table_says_what_is_checked_in_its_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["firmware", "ops"]) == 0
    printed = capsys.readouterr().out
    for name, operator in OPERATORS.items():
        general = [c.__name__ in GENERAL for c in operator.constraints]
        assert general == sorted(general, reverse=True), name
        (row,) = [line.split(" | ") for line in printed.splitlines() if line.startswith(f"| {name} |")]
        shared = [
            demand.replace("_", " ") for demand in (c.__name__ for c in operator.constraints) if demand in GENERAL
        ]
        assert [word for word in row[2].split(", ") if word != "–"] == shared
        own = " ".join(operator.demands()[len(shared) :])
        assert row[3].removesuffix(" |") == (own or "–")
    assert main(["firmware", "ops", "--json"]) == 0
    demands = json.loads(capsys.readouterr().out)["HARD_SWISH"]["demands"]
    assert demands == list(OPERATORS["HARD_SWISH"].demands())
    # What one operator alone demands stands at no other.
    assert printed.count(demands[-1]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.tflite", "--board", "mps2-an386", "-o", "fw"], "nowhere.tflite does not exist"),
        (["MODEL", "-o", "fw"], "a board and an output folder are needed; give --board NAME and -o FOLDER."),
        (["MODEL", "--board", "toaster", "-o", "fw"], "there is no board 'toaster'; choose from"),
        (["MODEL", "--board", "mps2-an386", "-o", "fw", "--ram", "100"], "more than there are"),
        (["report", "nowhere"], "report.json does not exist; name a folder"),
    ],
)
def test_refusals_are_one_sentence(
    arguments: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    assert main(["firmware", *(str(model) if a == "MODEL" else a for a in arguments)]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (model.parent / "fw" / "src").exists()
