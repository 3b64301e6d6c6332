"""The two keyword networks of the demo: one trunk, run from a WAV file, and in firmware with the front end."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.cli.shared.board_options import EMULATED_TIMEOUT_S
from multigraft.cli.shared.settings_options import load_frames
from multigraft.converters.build import build
from multigraft.converters.demo.sounds import sentence, write_clips, write_wav
from multigraft.converters.settings.settings import Settings
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.boards.toolchain import APT_PACKAGES
from multigraft.firmware_gen.inspection.reference import evaluate
from multigraft.firmware_gen.program.program import load
from multigraft.tensors.preparation import preparer_for
from tests.firmware_gen.tiny_model import make

ROOT = Path(__file__).parents[3]
SETTINGS = ROOT / "packaging" / "demo" / "multigraft_demo" / "sounds.toml"
WORDS = ("yes", "one", "stop", "three", "go", "five", "left", "two")
SHARED = "/8/Flatten_output_0"
"""The deepest layer that both have: all but the classifiers."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that shares all but the classifiers, as the demo's settings build it of fewer sounds."""
    folder = tmp_path_factory.mktemp("sounds")
    settings = Settings.read(SETTINGS)
    settings = dataclasses.replace(
        settings,
        frames=write_clips(folder / "clips", 320),
        graft=dataclasses.replace(settings.graft, fit_frames=240, share={"number": SHARED}),
        budget=dataclasses.replace(settings.budget, min_agreement=0.8),
    )
    settings.check()
    write_wav(folder / "sentence.wav", sentence(WORDS))
    return build(settings, load_frames).bundle.write(folder / "sounds.graft")


def test_independent_keyword_networks_share_a_trunk(built: Path) -> None:
    bundle = Bundle.open(built)
    number = bundle.manifest.task("number")
    assert (number.relation, number.donor) == ("independent", "command")
    weights = {segment.name: segment.weights_bytes for segment in bundle.manifest.segments}
    assert weights["trunk"] > 5 * (weights["head_command"] + weights["head_number"])
    assert len(bundle.manifest.inputs) == 1


def test_words_of_a_wav_file_are_recognised(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(built), "--source", str(built.with_name("sentence.wav"))]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # A window begins every half of its length, so every other one holds a whole word.
    assert len(lines) == 2 * len(WORDS) - 1
    heard = []
    for line in lines[::2]:
        labels = {answer["label"] for answer in line["answers"].values()} - {"nothing"}
        heard.append(labels)
        assert line["file"] == "sentence.wav"
    right = sum(word in labels for word, labels in zip(WORDS, heard, strict=True))
    assert right >= len(WORDS) - 2, heard


def test_inspecting_and_measuring_take_sound(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(built)]) == 0
    shown = capsys.readouterr().out
    assert re.search(
        r"Inputs that are made of sound\n.*\n.*\n.* 16000 +480 +320 +512 +40 +20 +4000 +1e-06 +49 +7920", shown
    )
    for source in ([], ["--source", str(built.with_name("clips"))], ["--source", "fake:seed=3"]):
        assert main(["bench", str(built), "--runs", "3", "--warmup", "1", *source, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)


def test_firmware_hears_a_wav_file_and_answers_as_python_does(built: Path, tmp_path: Path) -> None:
    if not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")):
        pytest.skip(f"firmware tools: install {' '.join(APT_PACKAGES)}")
    folder, board = tmp_path / "firmware", BOARDS["mps2-an386"]
    assert main(["firmware", str(built), "--board", board.name, "-o", str(folder)]) == 0
    make(folder)
    bundle = Bundle.open(built)
    program = load(bundle)
    (source,) = bundle.manifest.inputs
    spec = bundle.manifest.tensor(source.tensor)
    sound = sentence(WORDS)
    length = len(sound) // len(WORDS)
    with EmulatedBoard(board, folder / "build/frames/firmware.elf") as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        target = Target(link, timeout_s=EMULATED_TIMEOUT_S)
        assert target.info.hears
        # Two words that either network knows: an emulated port takes 2 s for each.
        for number in range(4):
            frame = sound[number * length : (number + 1) * length]
            assert target.hear(frame, forget=True) == 49
            answers = target.infer().outputs
            stored = np.empty(spec.shape, spec.dtype)
            preparer_for(source.preprocessing, spec).fill(frame, stored)
            wanted = evaluate(program, {source.tensor: stored})
            assert set(answers) == set(wanted)
            for name, values in wanted.items():
                np.testing.assert_array_equal(answers[name].reshape(-1), values.reshape(-1))
    assert main(["firmware", "verify", str(folder), "--qemu"]) == 0
