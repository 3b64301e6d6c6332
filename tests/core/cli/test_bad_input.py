"""Bad input through the real command line: one sentence that says what to do, the right exit code, nothing left behind.

Every case starts from files that work (``test_the_good_files_work``) and breaks one thing.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from multigraft.cli.main import main
from multigraft.tensors.arrays import Array
from tests.bundle_builder import build
from tests.converters.graft.networks import frames, residual_network

TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "classification"
[task.preprocessing]
size = [8, 8]
color = "grey"
"""
SETTINGS = (
    'frames = "frames.npy"\n'
    + TASK.format(name="first")
    + TASK.format(name="second")
    + "[budget]\nmin_agreement = 0.9\n[graft]\nfit_frames = 64\n"
)
USAGE, CONFIGURATION = 2, 78


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files that work, by name."""
    folder = tmp_path_factory.mktemp("good")
    for seed, name in enumerate(("first", "second")):
        onnx.save(residual_network(name, seed).model, folder / f"{name}.onnx")
    np.save(folder / "frames.npy", frames(160))
    (folder / "multigraft.toml").write_text(SETTINGS, "utf-8")
    build().bundle.write(folder / "home.graft")
    for i in range(2):
        Image.fromarray(np.full((28, 28), 40 * i, np.uint8)).save(folder / f"{i}.png")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(good: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in good.items():
        target = tmp_path / ("pictures" if name.endswith(".png") else "") / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MULTIGRAFT_DEBUG", raising=False)
    return tmp_path


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files but finished steps, which a refusal keeps for the next try."""
    paths = [p for p in sorted(folder.rglob("*")) if not any(part.endswith(".steps") for part in p.parts)]
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in paths}


Break = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """What is broken, what is asked, and what has to be said."""

    name: str
    argv: str
    says: str
    break_: Break = lambda folder: None
    code: int = USAGE


def settings(old: str, new: str) -> Break:
    """Replace text in multigraft.toml."""

    def change(folder: Path) -> None:
        path = folder / "multigraft.toml"
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")

    return change


def content(name: str, data: bytes) -> Break:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return change


def truncated(name: str, share: float = 0.6) -> Break:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return change


def network(change_model: Callable[[onnx.ModelProto], None]) -> Break:
    """Change first.onnx."""

    def change(folder: Path) -> None:
        model = onnx.load(folder / "first.onnx")
        change_model(model)
        onnx.save(model, folder / "first.onnx")

    return change


def node(old: str, new: str, domain: str = "") -> Break:
    """Replace the operator of the first node that is ``old``, and give the node a name."""

    def change(model: onnx.ModelProto) -> None:
        culprit = next(n for n in model.graph.node if n.op_type == old)
        culprit.op_type, culprit.domain, culprit.name = new, domain, "the_culprit"
        del culprit.attribute[:]
        if domain:
            model.opset_import.append(onnx.helper.make_opsetid(domain, 1))

    return network(change)


def arrays(name: str, array: Array) -> Break:
    return lambda folder: np.save(folder / name, array)


def repacked(change_member: Callable[[dict[str, bytes]], None]) -> Break:
    """Change members of home.graft, as somebody with a zip tool would."""

    def change(folder: Path) -> None:
        path = folder / "home.graft"
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change_member(members)
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)

    return change


def edited_manifest(members: dict[str, bytes]) -> None:
    data = json.loads(members["manifest.json"])
    data["tasks"][0]["labels"] = ["everything is fine"]
    members["manifest.json"] = json.dumps(data).encode()


def newer_manifest(members: dict[str, bytes]) -> None:
    data = json.loads(members["manifest.json"])
    data["schema"] = 99
    members["manifest.json"] = json.dumps(data).encode()


def edited_model(members: dict[str, bytes]) -> None:
    members["model.tflite"] = members["model.tflite"][:-8] + b"\1\2\3\4\5\6\7\x08"


def without_model(members: dict[str, bytes]) -> None:
    del members["model.tflite"]


def additional_file(members: dict[str, bytes]) -> None:
    members["extra.py"] = b"print()"


BUILD = "build multigraft.toml -o out/home.graft"
GRAFT = "graft multigraft.toml -o out/home.onnx"
RUN = "run home.graft --source pictures"

CASES = [
    Case("no settings file", "build none.toml", r"none\.toml does not exist", code=CONFIGURATION),
    Case("settings are no TOML", BUILD, "is not TOML", content("multigraft.toml", b"[[task"), CONFIGURATION),
    Case("misspelt setting", BUILD, "did you mean min_agreement", settings("min_agre", "min_arge"), CONFIGURATION),
    Case("missing model file", BUILD, r"second\.onnx.*does not exist", lambda f: (f / "second.onnx").unlink(), 78),
    Case("impossible agreement", BUILD, "budget.min_agreement is 1.5", settings("0.9", "1.5"), CONFIGURATION),
    Case("no weights at all", BUILD, "max_weights_bytes", settings("[budget]", "[budget]\nmax_weights_bytes = 0"), 78),
    Case("no known preference", BUILD, r"budget\.prefer", settings("[budget]", '[budget]\nprefer = "speed"'), 78),
    Case("too few frames", GRAFT, r"holds 30 frames", arrays("frames.npy", np.stack(frames(30)))),
    Case("two tasks of one name", BUILD, "another task has", settings('name = "second"', 'name = "first"'), 78),
    Case("share without a layer", f"{BUILD} --share first", "TASK=LAYER", code=CONFIGURATION),
    Case("share of no task", f"{BUILD} --share frist=block", "did you mean first", code=CONFIGURATION),
    Case("share at no layer", f"{GRAFT} --share second=nowhere", "no cut point 'nowhere'; choose from: stem"),
    Case("no statistics file", f"{BUILD} --statistics x", "x does not exist"),
    Case("no whole statistics file", f"{BUILD} --statistics frames.npy", r"frames\.npy is not a whole \.mgstats file"),
    Case("not an ONNX file", BUILD, r"first\.onnx is not an ONNX file", content("first.onnx", b"#!/bin/sh\n" * 99)),
    Case("empty model file", BUILD, r"first\.onnx is not an ONNX file", content("first.onnx", b"")),
    Case("truncated model file", BUILD, r"first\.onnx is not an ONNX file, or not a whole", truncated("first.onnx")),
    Case("unsupported operator", BUILD, r"NonZero 'the_culprit'", node("Flatten", "NonZero")),
    Case("operator of nobody knows", BUILD, r"Wizardry 'the_culprit'", node("Relu", "Wizardry", "com.example")),
    Case("operator that does not exist", BUILD, r"first\.onnx is not valid ONNX.*Reluu", node("Relu", "Reluu")),
    Case("network of another size", BUILD, r"takes .* and its preprocessing makes", settings("[8, 8]", "[9, 8]")),
    Case("network of another colour", BUILD, "correct size and color", settings('color = "grey"', 'color = "rgb"')),
    Case("empty folder of frames", f"{BUILD} --frames empty", "empty"),
    Case("frames that are not there", f"{BUILD} --frames nowhere", "nowhere"),
    Case("frames of the wrong type", BUILD, r"frames\.npy", arrays("frames.npy", np.zeros((9, 8, 8), np.float32))),
    Case("frames of the wrong rank", BUILD, r"frames\.npy", arrays("frames.npy", np.zeros((9, 8), np.uint8))),
    Case("frames of five channels", BUILD, r"frames\.npy", arrays("frames.npy", np.zeros((9, 8, 8, 5), np.uint8))),
    Case("frames file that is none", BUILD, r"frames\.npy", content("frames.npy", b"not numpy")),
    Case("picture that is none", RUN, r"0\.png", content("pictures/0.png", b"not a picture")),
    Case("no output folder", "build multigraft.toml -o nowhere/home.graft", r"nowhere/home\.graft cannot be written"),
    Case("output is a folder", "build multigraft.toml -o empty", "empty is a folder"),
    Case("report folder is a file", f"{BUILD} --report-dir first.onnx", r"first\.onnx is not a folder"),
    Case("network without frames", "convert first.onnx -o out/a.graft", "int8 needs frames or ranges"),
    Case("no graph", "convert none.onnx -o out/a.graft", r"none\.onnx does not exist"),
    Case("truncated network", "convert first.onnx -o out/a.graft", "not a whole one; copy", truncated("first.onnx")),
    Case("no labels to study", "study multigraft.toml -o out/study", "has no labelled frames", code=CONFIGURATION),
    Case("no bundle", "inspect none.graft", r"none\.graft does not exist"),
    Case("a folder that is no bundle", "inspect empty", r"manifest\.json"),
    Case("a file that is no bundle", "inspect first.onnx", r"first\.onnx is not a whole \.graft file"),
    Case("truncated bundle", "inspect home.graft", r"home\.graft is not a whole \.graft file", truncated("home.graft")),
    Case("truncated bundle that runs", RUN, r"home\.graft is not a whole \.graft file", truncated("home.graft", 0.99)),
    Case("edited manifest", RUN, "was edited after it was built", repacked(edited_manifest)),
    Case("edited model", RUN, r"model\.tflite is not what was built", repacked(edited_model)),
    Case("bundle without its model", RUN, r"lacks model\.tflite", repacked(without_model)),
    Case("bundle with a file too many", RUN, r"extra\.py, which its manifest does not name", repacked(additional_file)),
    Case("bundle of a newer multigraft", RUN, "schema 99", repacked(newer_manifest)),
    Case("missing task", f"{RUN} --tasks garment,pose", "no task 'pose'; choose from: garment, digit"),
    Case("no task", f"{RUN} --tasks ,", "choose from"),
    Case("empty folder of pictures", "run home.graft --source empty", "empty"),
    Case("no source", "run home.graft --source nowhere", "nowhere does not exist"),
    Case("a source of no known type", "run home.graft --source first.onnx", r"first\.onnx"),
    Case("no frames asked for", f"{RUN} --frames 0", "at least 1"),
    Case("no separate models", "bench home.graft --against separate --runs 1", r"\.tflite does not exist"),
    Case("comparison with nothing", "bench home.graft --against nothing", "is not understood"),
    Case("no runs", "bench home.graft --runs 0 --no-memory", "at least 1"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    case: Case, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case.break_(folder)
    before = snapshot(folder)
    code = main(case.argv.split())
    captured = capfd.readouterr()
    said = [line for line in captured.err.splitlines() if line.startswith("multigraft: ")]
    assert code == case.code, captured.err
    assert len(said) == 1 and captured.err.splitlines()[-1] == said[0], captured.err
    assert re.search(case.says, said[0]), said[0]
    assert said[0].endswith(".") and not said[0].endswith("..")
    assert "Traceback" not in captured.err + captured.out
    assert snapshot(folder) == before


def test_the_good_files_work(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(GRAFT.split()) == 0
    assert (folder / "out" / "home.onnx").is_file()
    assert main([*RUN.split(), "--tasks", "garment"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 3
    assert main(["inspect", "home.graft"]) == 0


@pytest.mark.parametrize(
    "argv", ["", "bulid", "build", "run home.graft", "run home.graft --source pictures --threads two"]
)
def test_a_wrong_command_shows_its_usage(argv: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv.split())
    assert caught.value.code == USAGE
    said = capsys.readouterr().err
    assert said.startswith("usage: multigraft") and "error: " in said


def test_debugging_shows_the_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multigraft.errors import BundleError

    monkeypatch.setenv("MULTIGRAFT_DEBUG", "1")
    with pytest.raises(BundleError):
        main(["inspect", "none.graft"])


def test_an_interruption_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import multigraft.converters.build

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(multigraft.converters.build, "assemble", interrupted)
    before = snapshot(folder)
    assert main(GRAFT.split()) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "multigraft: interrupted; nothing was left half-written."
    assert snapshot(folder) == before
