"""``sound`` in the settings of a task."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from multigraft.converters.settings.settings import Settings
from multigraft.errors import ConfigurationError
from multigraft.sounds.front_end import NAMED, FrontEnd
from multigraft.sounds.sound_window import SoundWindow
from multigraft.tensors.array_preparation import ArrayPreparation

TASK = """frames = "sounds"
[[task]]
name = "word"
model = "word.onnx"
kind = "classification"
preprocessing = {{ {} }}
"""


def load(folder: Path, preprocessing: str) -> ArrayPreparation:
    (folder / "sounds").mkdir(exist_ok=True)
    (folder / "word.onnx").write_bytes(b"")
    (folder / "multigraft.toml").write_text(TASK.format(preprocessing), "utf-8")
    read = Settings.load(folder / "multigraft.toml").tasks[0].preprocessing
    assert isinstance(read, ArrayPreparation)
    return read


def test_a_front_end_by_name(tmp_path: Path) -> None:
    read = load(tmp_path, 'sound = "keyword", shape = [1, 49, 40], mean = -7, scale = 0.2')
    window = SoundWindow(NAMED["keyword"], 49, 7920)
    assert read == ArrayPreparation((1, 49, 40), (-7.0,), (0.2,), sound=window)


def test_a_front_end_of_ones_own(tmp_path: Path) -> None:
    sound = "{ rate_hz = 8000, window_ms = 25, step_ms = 10, bands = 20, low_hz = 60, high_hz = 3800, floor = 1e-9 }"
    read = load(tmp_path, f"sound = {sound}, shape = [20, 98], hop_ms = 250")
    front_end = FrontEnd(8_000, 200, 80, 256, 20, 60.0, 3800.0, 1e-9)
    assert read == ArrayPreparation((20, 98), sound=SoundWindow(front_end, 98, 2000))
    assert load(tmp_path, "sound = { fft = 1024 }, shape = [3, 40]").sound == SoundWindow(
        FrontEnd(16_000, 480, 320, 1024, 40, 20.0, 4000.0), 3, 560
    )


@pytest.mark.parametrize(
    ("preprocessing", "says"),
    [
        ('sound = "keywords", shape = [49, 40]', "sound is 'keywords'; .*keyword"),
        ('sound = "keyword"', "shape is missing"),
        ('sound = "keyword", shape = [49, 41]', r"has 40 bands; write for instance \[1, 49, 40\]"),
        ('sound = "keyword", shape = [2, 49, 40]', "has 40 bands"),
        ('sound = "keyword", shape = [49, 40], scale = 0', "scale is 0"),
        ('sound = "keyword", shape = [49, 40], size = [49, 40]', "contradicts size"),
        ('sound = "keyword", shape = [49, 40], color = "grey"', "color belongs to pictures"),
        (
            "sound = { fft = 500 }, shape = [49, 40]",
            "sound cannot be: the transform takes 500 samples; give a power of",
        ),
        ("sound = { high_hz = 9000 }, shape = [49, 40]", "sound cannot be: the bands reach from 20 to 9000 Hz"),
        ("sound = { window = 30 }, shape = [49, 40]", "window is not a setting; did you mean window_ms"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(preprocessing: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        load(tmp_path, preprocessing)
    assert "task[0].preprocessing" in str(caught.value)


def test_the_examples_of_the_page_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "sound.md").read_text("utf-8")
    whole, sound = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "command.onnx").write_bytes(b"")
    for text in (whole, re.sub(r"sound = .*\nshape = .*", f"{sound}shape = [1, 64, 101]", whole)):
        (tmp_path / "multigraft.toml").write_text(text, "utf-8")
        (task,) = Settings.load(tmp_path / "multigraft.toml").tasks
        assert isinstance(task.preprocessing, ArrayPreparation) and task.preprocessing.sound is not None
    assert isinstance(task.preprocessing, ArrayPreparation) and task.preprocessing.is_bands_first
