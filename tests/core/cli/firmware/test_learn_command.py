"""`multigraft firmware --learn` and `multigraft learn`: a board in QEMU is taught, saved, restored and verified."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multigraft.answers.kind import Kind
from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.project.folder import ProjectFolder, build_folder
from multigraft.sounds.front_end import NAMED
from multigraft.sounds.sound_window import SoundWindow
from multigraft.tensors.array_preparation import ArrayPreparation
from tests.bundle_builder import assemble, build
from tests.core.cli.firmware.test_firmware_bad_input import refused
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.learning.glyphs import network
from tests.firmware_gen.models import Builder, activation, residual
from tests.tflite_builder import Graph

BOARD = BOARDS["mps2-an386"]
WAITS = ["--timeout", "600"]
TASK = "digits_that_somebody_wrote_by_hand"
"""Longer than a device keeps it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, frames, and a built project that learns."""
    pytest.importorskip("serial")
    path = tmp_path_factory.mktemp("learn")
    build((("garment", "classification"), (TASK, "classification"))).bundle.write(path / "home.graft")
    build(width=4).bundle.write(path / "other.graft")
    random = np.random.default_rng(1)
    np.save(path / "known.npy", random.integers(0, 120, (12, 28, 28), np.uint8))
    np.save(path / "new.npy", random.integers(120, 255, (6, 28, 28), np.uint8))
    command = ["firmware", str(path / "home.graft"), "--board", BOARD.name, "-o", str(path / "fw")]
    assert main([*command, "--learn", TASK, "--classes", "11", "--known", str(path / "known.npy")]) == 0
    build_folder(path / "fw")
    return path


@needs_tools
def test_a_board_is_taught_and_keeps_what_it_learnt_in_a_file(made: Path, capfd: pytest.CaptureFixture[str]) -> None:
    project, bundle, kept = str(made / "fw"), str(made / "home.graft"), str(made / "digit.npz")
    report = json.loads((made / "fw/report.json").read_text())["learning"]
    assert (report["task"], report["classes"], report["known_frames"]) == (TASK, 11, 12)
    assert main(["firmware", "report", project]) == 0
    assert (
        f"RAM of learning    {report['ram_bytes']:>10} bytes, and {report['solving_bytes']}" in capfd.readouterr().out
    )
    with EmulatedBoard(BOARD, made / "fw/build/frames/firmware.elf") as emulated:
        emulated.resume()
        port = ["--port", emulated.port, *WAITS]
        assert main(["firmware", "verify", project, *port]) == 0
        capfd.readouterr()
        assert main(["learn", bundle, *port, "--label", "10", "--source", str(made / "new.npy"), "--json"]) == 0
        told = json.loads(capfd.readouterr().out)
        assert (told["task"], told["classes"], told["learnt"], told["frames"]) == (TASK[:31], 11, 6, 6)
        assert main(["firmware", "verify", project, *port]) == 0
        capfd.readouterr()
        assert main(["learn", *port, "--keep", "--count", "2", "--solve", "--save", kept]) == 0
        assert capfd.readouterr().out.startswith(f"{TASK[:31]}: 2 frames learnt, 8 in all of 33025\nsolved in ")
        refused(["firmware", "verify", project, *port], "was solved anew on the device", capfd)
        refused(["learn", *port, "--label", "11", "--count", "1"], "has no such class to learn", capfd)
        assert main(["learn", *port, "--forget"]) == 0
        assert main(["firmware", "verify", project, *port]) == 0
        assert main(["learn", *port, "--restore", kept, "--solve", "--json"]) == 0
        assert json.loads(capfd.readouterr().out.splitlines()[-1])["frames"] == 8
        refused(["learn", *port, "--restore", str(made / "new.npy")], "new.npy is damaged (File is not a zip", capfd)
        with np.load(kept) as held:
            for name, field, values in (
                ("other", "digest", held["digest"][::-1]),
                ("few", "sums", held["sums"][:-1]),
                ("knowing", "identity", ~held["identity"]),
            ):
                np.savez(made / f"{name}.npz", **{**held, field: values})
        forget, new = ["learn", *port, "--forget"], str(made / "new.npy")
        refused([*forget, "--restore", str(made / "other.npz")], "was learnt by another model", capfd)
        refused([*forget, "--restore", str(made / "few.npz")], "do not fit the device", capfd)
        refused([*forget, "--restore", str(made / "knowing.npz")], "another layer or other known frames", capfd)
        refused([*forget, "--label", "11", "--count", "1"], "has no such class to learn", capfd)
        refused([*forget, "--label", "1", "--source", new, str(made / "no.graft")], "no.graft does not exist", capfd)
        refused([*forget, "--keep", "--source", new, str(made / "other.graft")], "runs another model than", capfd)
        refused([*forget, "--keep", "--source", str(made / "no.npy"), bundle], "no.npy does not exist", capfd)
        capfd.readouterr()
        endless = ["--source", "fake:28x28", "--count", "2", "--json"]
        assert main(["learn", bundle, *port, "--keep", *endless]) == 0
        told = json.loads(capfd.readouterr().out)
        assert (told["learnt"], told["frames"]) == (2, 10)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--label", "1"], "frames need a class, and a class needs frames"),
        (["--count", "2"], "frames need a class, and a class needs frames"),
        (["--label", "1", "--source", "new.npy"], "frames are prepared as a bundle says"),
        (["--label", "1", "--count", "0"], "--count 0 is no number of frames"),
        (["--label", "-1", "--count", "1"], "there is no class -1; count classes from 0 on"),
        (["--label", "65535", "--count", "1"], "there is no class 65535"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: list[str], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    refused(["learn", "--port", "/dev/null", *options], says, capfd)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--classes", "11"], "--classes and --known are of a task that learns"),
        (["--learn", "digit"], "a task that learns needs a number of classes"),
        (["--learn", "digit", "--classes", "9"], "'digit' has 10 classes and cannot have 9; choose from 10 to 128"),
        (
            ["--learn", "nose", "--classes", "11"],
            "there is no task 'nose' that could learn; choose from: garment, digit",
        ),
        (["--learn", "digit", "--classes", "11", "--prefix", "eye"], "one model learns, under its own names"),
    ],
)
def test_what_a_bundle_cannot_learn_is_refused(
    options: list[str], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    build().bundle.write(tmp_path / "home.graft")
    command = ["firmware", str(tmp_path / "home.graft"), "--board", BOARD.name, "-o", str(tmp_path / "fw"), *options]
    refused(command, says, capfd)
    assert not (tmp_path / "fw").exists()


def test_a_network_that_does_not_end_densely_or_fit_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A map of classes, a board with too little RAM, whose message says what learning takes, and a softmax."""
    build((("mask", "other"), ("digit", "classification"))).bundle.write(tmp_path / "home.graft")
    learn = ["--board", "microbit", "-o", str(tmp_path / "fw"), "--classes", "11"]
    refused(
        ["firmware", str(tmp_path / "home.graft"), *learn, "--learn", "mask"],
        "the last layer of 'mask' is CONV_2D, not a dense one; let a task learn whose network ends with a dense layer",
        capfd,
    )
    (tmp_path / "glyphs.tflite").write_bytes(network())
    b = Builder(1)
    b.add(activation("x", (1, 6)))
    none = b.model(["x"], [b.plain("SOFTMAX", "answer", ["x"], activation("", (1, 6), 1 / 256), beta=1.0)])
    (tmp_path / "none.tflite").write_bytes(none)
    no_layer = ["firmware", str(tmp_path / "none.tflite"), *learn, "--learn", "main"]
    refused(no_layer, "the network of 'main' has no dense layer", capfd)
    few = ["firmware", str(tmp_path / "glyphs.tflite"), *learn, "--learn", "main"]
    refused([*few[:-3], "100", "--learn", "main"], "or leave out --learn, which takes 37", capfd)
    refused([*few, "--known", "rows.npy"], "a .tflite file does not say how frames are prepared", capfd)
    (tmp_path / "residual.tflite").write_bytes(residual())
    small = ["firmware", str(tmp_path / "residual.tflite"), "--board", BOARD.name, "-o", str(tmp_path / "softmax")]
    assert main([*small, "--learn", "main", "--classes", "8"]) == 0
    assert "{1u, 8u, 0u" not in (tmp_path / "softmax/target/app_model.c").read_text()
    assert "SOFTMAX" in (tmp_path / "softmax/src/model.c").read_text()


def with_inputs(bundle: Bundle, **preparations: ArrayPreparation) -> Bundle:
    """The bundle, of whose inputs some are prepared otherwise."""
    inputs = [replace(i, preprocessing=preparations.get(i.tensor, i.preprocessing)) for i in bundle.manifest.inputs]
    contents = {name: bundle.read(name) for name in bundle.manifest.files}
    return Bundle.create(replace(bundle.manifest, inputs=tuple(inputs)), contents)


SOUND = ArrayPreparation((5, 40, 1), sound=SoundWindow(NAMED["keyword"], 5, 800))


def test_golden_sounds_have_the_classes_that_the_board_has(tmp_path: Path) -> None:
    built = build((("word", "classification"),), size=(5, 40, 1)).bundle
    with_inputs(built, image=SOUND).write(tmp_path / "word.graft")
    command = ["firmware", str(tmp_path / "word.graft"), "--board", BOARD.name, "-o", str(tmp_path / "fw")]
    assert main([*command, "--learn", "word", "--classes", "12"]) == 0
    golden = ProjectFolder.open(tmp_path / "fw")
    assert golden.golden_sounds()["word/out"].shape[1:] == golden.golden()[1]["word/out"].shape[1:] == (1, 12)


def test_frames_are_prepared_for_the_task_that_learns_alone(tmp_path: Path) -> None:
    """Another task of the bundle takes sound."""
    graph = Graph(seed=7)
    for name, size in (("image", (12, 12, 1)), ("heard", (5, 40, 1))):
        pooled = graph.mean(f"{name}/mean", graph.conv(f"{name}/conv", graph.input(name, (1, *size)), 8))
        graph.dense(f"{name}/out", pooled, 3)
    segments = {name: [f"{name}/conv", f"{name}/mean", f"{name}/out"] for name in ("image", "heard")}
    tasks: dict[str, tuple[Kind, str, tuple[str, ...]]] = {
        f"of_{name}": ("classification", f"{name}/out", ("a", "b", "c")) for name in segments
    }
    with_inputs(assemble(graph, segments, tasks).bundle, heard=SOUND).write(tmp_path / "two.graft")
    np.save(tmp_path / "known.npy", np.random.default_rng(1).integers(0, 255, (4, 12, 12), np.uint8))
    command = ["firmware", str(tmp_path / "two.graft"), "--board", BOARD.name, "-o", str(tmp_path / "fw")]
    command += ["--learn", "of_image", "--classes", "4", "--known", str(tmp_path / "known.npy")]
    assert main(command) == 0
    assert json.loads((tmp_path / "fw/report.json").read_text())["learning"]["known_frames"] == 4


def test_known_frames_of_what_firmware_does_not_take_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A float network, and layers of more numbers than can be learnt and of one."""
    np.save(tmp_path / "known.npy", np.zeros((2, 28, 28), np.uint8))
    home = tmp_path / "home.graft"
    command = ["firmware", str(home), "--board", BOARD.name, "-o", str(tmp_path / "fw")]
    command += ["--learn", "digit", "--classes", "11"]
    known = ["--known", str(tmp_path / "known.npy")]
    build(float32=True).bundle.write(home)
    refused([*command, *known], "the model's 'image' is float32, not int8 or uint8", capfd)
    for units, says in ((130, "has 130 classes, and what learns has up to 128"), (1, "answers one number")):
        b = Builder(2)
        b.add(activation("features", (1, 6)))
        (tmp_path / "dense.tflite").write_bytes(b.model(["features"], [b.dense("logits", "features", units)]))
        dense = ["firmware", str(tmp_path / "dense.tflite"), *command[2:6], "--learn", "main", "--classes", "131"]
        refused(dense, f"'main' {says}", capfd)
    build((("garment", "classification"), ("digit", "regression"))).bundle.write(home)
    refused(command, "'digit' is a task of regression, and what learns tells classes apart", capfd)
