"""Two networks over windows of an accelerometer: built, run, collected, refitted, validated and put on a board."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from multigraft import Bundle
from multigraft.cli.main import main
from multigraft.converters.importing.importer import load_network
from multigraft.errors import InputError
from multigraft.runtime import Engine
from multigraft.runtime.answers import Classification
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.preparation import prepare_frames
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.graft.networks import frames, residual_network
from tests.signal_networks import windows, write_signal_project

MIXED = """
[[task]]
name = "seen"
model = "seen.onnx"
kind = "classification"
frames = "pictures.npy"
[task.preprocessing]
size = [8, 8]
color = "grey"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings, networks with common first layers, windows, and the bundle built of them."""
    folder = tmp_path_factory.mktemp("wrist")
    settings = write_signal_project(folder)
    assert main(["build", str(settings), "-o", str(folder / "wrist.graft"), "--report-dir", str(folder / "out")]) == 0
    return folder


@pytest.fixture
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(project)
    yield project


def told(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_they_share_a_trunk_and_answer_as_the_originals(inside: Path) -> None:
    bundle = Bundle.open("wrist.graft")
    trunk, *heads = bundle.manifest.segments
    assert trunk.name == "trunk" and [h.name for h in heads] == ["head_gesture", "head_activity"]
    assert [i.preprocessing for i in bundle.manifest.inputs] == [ArrayPreparation((3, 64), scale=(0.102,))]
    engine = Engine(bundle)
    held_out = windows(100, seed=9)
    for task in ("gesture", "activity"):
        network = load_network(f"{task}.onnx", preprocessing=ArrayPreparation((3, 64), scale=(0.102,)))
        wanted = network.run(prepare_frames(list(held_out), network.preprocessing))[network.outputs[0]].argmax(1)
        given = []
        for window in held_out:
            answer = engine.run(window, task).answers[task]
            assert isinstance(answer, Classification)
            given.append(answer.index)
        assert np.mean(wanted == given) > 0.9


def test_the_trunk_of_signals_holds_no_copies_in_another_layout(inside: Path) -> None:
    counts = {s.name: s.operators for s in Bundle.open("wrist.graft").manifest.segments}
    assert counts["trunk"].get("TRANSPOSE", 0) <= 1, "one for the input, which comes as the network had it"
    assert not any("RELU" in operators for operators in counts.values())


def test_the_report_and_every_table_show_them(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(Path("out/summary.json").read_text("utf-8"))["not_compared"] == []
    assert main(["inspect", "wrist.graft"]) == 0
    assert "3x64" in capsys.readouterr().out
    lines = run(capsys, "wrist.graft", "--source", "windows.npy", "--frames", "3")
    assert [line["answers"]["activity"]["label"] in ("still", "walk", "run") for line in lines] == [True] * 3
    report = json.loads(benched(capsys, "wrist.graft", "--runs", "3", "--warmup", "1"))
    assert report["latency_us"]["segments"].keys() == {"trunk", "head_gesture", "head_activity"}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["run", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def benched(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["bench", *arguments, "--no-memory", "--no-energy", "--json"]) == 0
    return capsys.readouterr().out


def test_a_round_in_the_field(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "prepare", "multigraft.toml", "-o", "wrist.mgtaps"]) == 0
    done = told(
        capsys, "calibrate", "collect", "wrist.mgtaps", "--source", "windows.npy", "-o", "site.mgstats",
        "--minibatch", "32", "--keep-frames", "2",
    )  # fmt: skip
    assert done["reason"] == "source ended" and done["frames"] == 500
    kept = sorted(Path("site.mgstats.frames").iterdir())
    assert len(kept) == 2
    held = np.load("windows.npy")
    for path in kept:
        np.testing.assert_array_equal(np.load(path), held[int(path.stem.removeprefix("kept-"))])
    assert main(["calibrate", "combine", "site.mgstats", "-o", "all.mgstats"]) == 0
    assert main(["calibrate", "report", "all.mgstats", "-o", "field.html"]) == 0
    page = Path("field.html").read_text("utf-8")
    assert "The rows" in page and "The picture" not in page
    assert main(["build", "multigraft.toml", "--statistics", "all.mgstats", "-o", "again.graft"]) == 0
    capsys.readouterr()
    judged = told(
        capsys, "calibrate", "validate", "wrist.graft", "--against", "wrist.mgtaps", "--source", "windows.npy"
    )
    assert judged["frames"] == 500 and all(t["value"] > 0.9 for t in judged["tasks"])


def test_equal_windows_are_skipped_whatever_their_unit(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("wrist.mgtaps").exists():
        assert main(["calibrate", "prepare", "multigraft.toml", "-o", "wrist.mgtaps"]) == 0
    np.save("twice.npy", np.repeat(windows(40, seed=4) * 1e-3, 2, axis=0))
    done = told(
        capsys, "calibrate", "collect", "wrist.mgtaps", "--source", "twice.npy", "-o", "twice.mgstats",
        "--minibatch", "8", "--minimum-frames", "8",
    )  # fmt: skip
    assert (done["used"], done["skipped"]) == (40, 40)


def test_independent_networks_are_refitted_on_the_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = write_signal_project(tmp_path, trunk_seeds=(0, 5))
    plan, refit = str(tmp_path / "wrist.mgplan"), str(tmp_path / "site.mgrefit")
    assert main(["calibrate", "plan", str(settings), "--share", "activity=1", "-o", plan]) == 0
    source = str(tmp_path / "windows.npy")
    (graft,) = told(capsys, "calibrate", "refit", plan, "--source", source, "--frames", "300", "-o", refit)["grafts"]
    assert graft["layers"] >= 3 and graft["agreement"]["value"] > 0.7


def test_arrays_stand_beside_pictures_with_sources_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = write_signal_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    onnx.save(residual_network("seen", 1).model, "seen.onnx")
    np.save("pictures.npy", frames(500))
    text = settings.read_text("utf-8").replace("[budget]", f"{MIXED}[budget]")
    settings.write_text(text, "utf-8")
    assert main(["build", "multigraft.toml", "-o", "mixed.graft"]) == 0
    manifest = Bundle.open("mixed.graft").manifest
    kinds = {type(i.preprocessing) for i in manifest.inputs}
    assert kinds == {ArrayPreparation, Preprocessing} and manifest.to_json()["schema"] == 2
    lines = run(capsys, "mixed.graft", "--source", "windows.npy", "--source", "seen=pictures.npy", "--frames", "2")
    assert lines[0]["answers"].keys() == {"gesture", "activity", "seen"}
    (alone,) = run(capsys, "mixed.graft", "--source", "pictures.npy", "--tasks", "seen", "--frames", "1")
    assert alone["answers"]["seen"] == lines[0]["answers"]["seen"]
    benched(capsys, "mixed.graft", "--runs", "2", "--warmup", "0")
    assert main(["run", "mixed.graft", "--source", "pictures.npy"]) != 0
    assert "one source cannot serve" in capsys.readouterr().err
    assert main(["calibrate", "prepare", "multigraft.toml", "-o", "mixed.mgtaps"]) != 0
    assert main(["calibrate", "prepare", "multigraft.toml", "--tasks", "seen", "-o", "seen.mgtaps"]) == 0
    engine = Engine("mixed.graft")
    window, picture = windows(1)[0], frames(1)[0]
    together = engine.run({"gesture": window, "activity": window, "seen": picture})
    assert together.answers["seen"] == engine.run(picture, "seen").answers["seen"]
    assert engine.run({"seen": picture}).answers.keys() == {"seen"}
    with pytest.raises(InputError, match="shares its input"):
        engine.run({"gesture": window, "activity": windows(2)[1]})
    with pytest.raises(InputError, match="activity has no frame"):
        engine.run({"gesture": window}, ["activity"])


@pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")), reason="hardware: no cross compiler"
)
def test_a_board_computes_the_golden_outputs(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import subprocess

    assert main(["firmware", "wrist.graft", "--board", "mps2-an385", "-o", "firmware"]) == 0
    subprocess.run(["make", "-C", "firmware"], check=True, capture_output=True)
    capsys.readouterr()
    assert main(["firmware", "verify", "firmware", "--qemu"]) == 0
    assert "equal bit for bit" in capsys.readouterr().out


def test_whole_numbers_go_through_to_a_table_of_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(2)
    constants = {
        "letters": random.normal(size=(300, 8)).astype(np.float32),
        "over": np.array([1]),
        "w": random.normal(size=(4, 8)).astype(np.float32),
        "b": random.normal(size=4).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["letters", "text"], ["embedded"], "embedded"),
        helper.make_node("ReduceMean", ["embedded", "over"], ["mean"], "mean", keepdims=0),
        helper.make_node("Gemm", ["mean", "w", "b"], ["logits"], "logits", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "letters",
        [helper.make_tensor_value_info("text", TensorProto.INT64, [1, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "letters.onnx")
    texts = random.integers(0, 300, (200, 16))
    np.save(tmp_path / "texts.npy", texts)
    settings = tmp_path / "multigraft.toml"
    settings.write_text(
        'frames = "texts.npy"\n[[task]]\nname = "letters"\nmodel = "letters.onnx"\nkind = "classification"\n'
        '[task.preprocessing]\nshape = [16]\nvalues = "int32"\n[budget]\nmin_agreement = 0.8\n',
        "utf-8",
    )
    assert main(["build", str(settings), "-o", str(tmp_path / "letters.graft")]) == 0
    bundle = Bundle.open(tmp_path / "letters.graft")
    assert [bundle.manifest.tensor(i.tensor).dtype for i in bundle.manifest.inputs] == ["int32"]
    engine = Engine(bundle)
    wanted = (constants["letters"][texts].mean(1) @ constants["w"].T + constants["b"]).argmax(1)
    given = [engine.run(text).to_json()["answers"]["letters"]["index"] for text in texts]
    assert np.mean(wanted == given) > 0.95
