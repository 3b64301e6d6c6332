from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from multigraft.converters.settings import settings as settings_module
from multigraft.converters.settings import settings_docs
from multigraft.converters.settings.settings import Settings, parse_share
from multigraft.devices.cameras import sources
from multigraft.errors import ConfigurationError, MultigraftError
from multigraft.tensors.preprocessing import Preprocessing

GOOD = """\
frames = "frames"

[bundle]
name = "home"

[[task]]
name = "garment"
model = "garment.onnx"
kind = "classification"
labels = "labels.txt"
labelled = "labelled.npz"
[task.preprocessing]
size = [28, 32]
color = "grey"
mean = 72.9
scale = 0.01
resize = "fit"
interpolation = "nearest"
pad = 114

[[task]]
name = "pose"
model = "nets.pose:make"
state = "pose.pt"
kind = "landmarks"
tolerance = 2
min_agreement = 0.9
frames = "pose.npy"
labels = ["left", "right"]
[task.preprocessing]
size = [64, 64]
mean = [1, 2, 3]

[budget]
min_agreement = 0.97
confidence = 0.99
max_weights_bytes = 200_000
max_macs = 1_000_000
max_latency_us = 900

[graft]
refine = "distill"
seed = 7
fit_frames = 256
share = { pose = "relu3" }

[convert]
precision = "int8"
keep_float = ["logits"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "frames").mkdir()
    for name in ("garment.onnx", "pose.pt", "pose.npy", "labelled.npz", "other.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "labels.txt").write_text("shirt\n\n boot \n", "utf-8")
    return tmp_path


def load(folder: Path, text: str) -> Settings:
    path = folder / "multigraft.toml"
    path.write_text(text, "utf-8")
    return Settings.load(path)


def test_every_setting_is_read(folder: Path) -> None:
    settings = load(folder, GOOD)
    garment, pose = settings.tasks
    assert settings.bundle.name == "home"
    assert garment.model == str(folder / "garment.onnx")
    assert not garment.is_factory
    assert garment.labels == ("shirt", "boot")
    assert garment.labelled == folder / "labelled.npz"
    assert garment.preprocessing == Preprocessing(28, 32, "grey", (72.9,), (0.01,), "fit", "nearest", 114)
    assert settings.frames_of(garment) == folder / "frames"
    assert (pose.model, pose.is_factory, pose.state) == ("nets.pose:make", True, folder / "pose.pt")
    assert pose.preprocessing == Preprocessing(64, 64, "rgb", (1.0, 2.0, 3.0), (1 / 255,) * 3)
    assert (pose.tolerance, pose.labels) == (2.0, ("left", "right"))
    assert settings.frames_of(pose) == folder / "pose.npy"
    budget = settings.budget
    assert (budget.min_agreement, budget.confidence) == (0.97, 0.99)
    assert settings.least_agreements == {"garment": 0.97, "pose": 0.9}
    assert (budget.max_weights_bytes, budget.max_macs, budget.max_latency_us) == (200_000, 1_000_000, 900.0)
    graft = settings.graft
    assert (graft.refine, graft.seed, graft.fit_frames, graft.share) == ("distill", 7, 256, {"pose": "relu3"})
    assert (settings.convert.precision, settings.convert.keep_float) == ("int8", ("logits",))


def test_the_shortest_file_gets_defaults(folder: Path) -> None:
    settings = load(
        folder,
        'frames = "frames"\n[[task]]\nname = "a"\nmodel = "garment.onnx"\nkind = "other"\n'
        "[task.preprocessing]\nsize = [8, 8]\n",
    )
    assert settings.tasks[0].preprocessing == Preprocessing(8, 8)
    assert (settings.budget.min_agreement, settings.convert.precision, settings.graft.share) == (0.95, "int8", {})


def test_an_array_inside_a_file_is_named_behind_a_colon(folder: Path) -> None:
    text = GOOD.replace('frames = "frames"', 'frames = "labelled.npz:fit_frames"', 1)
    assert load(folder, text).frames == Path(f"{folder / 'labelled.npz'}:fit_frames")
    with pytest.raises(ConfigurationError, match="does not exist"):
        load(folder, text.replace("labelled.npz:fit", "none.npz:fit"))


def test_every_source_of_frames_that_is_a_file_may_stand_in_the_settings() -> None:
    assert set(settings_module.VIDEO_SUFFIXES) == set(sources.VIDEO_SUFFIXES)
    assert set(settings_module.ARRAY_SUFFIXES) == set(sources.ARRAY_SUFFIXES)


def test_paths_are_relative_to_the_file_not_to_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (folder / "multigraft.toml").write_text(GOOD, "utf-8")
    monkeypatch.chdir(folder.parent)
    settings = Settings.load(f"{folder.name}/multigraft.toml")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert settings.frames is not None and settings.frames.is_dir()


BAD = [
    # what is replaced, by what, key path in the message, remedy in the message
    ('name = "home"', 'nmae = "home"', "bundle.nmae", "did you mean name"),
    ("[budget]", "[bugdet]", "bugdet", "did you mean budget"),
    ("min_agreement = 0.97", "min_agreeement = 0.97", "budget.min_agreeement", "did you mean min_agreement"),
    ('kind = "landmarks"', 'kind = "landmark"', "task[1].kind", "did you mean landmarks"),
    ('kind = "landmarks"', 'kind = "zebra"', "task[1].kind", "choose from: classification"),
    ('kind = "landmarks"', "", "task[1].kind", "write one of"),
    ("min_agreement = 0.97", "min_agreement = 1.2", "budget.min_agreement", "below 1"),
    ("min_agreement = 0.97", "min_agreement = 1", "budget.min_agreement", "no finite number of frames"),
    ("min_agreement = 0.97", 'min_agreement = "0.97"', "budget.min_agreement", "write a number"),
    ("min_agreement = 0.97", "min_agreement = nan", "budget.min_agreement", "write a number"),
    ("min_agreement = 0.9\n", "min_agreement = 1\n", "task[1].min_agreement", "no finite number of frames"),
    ("min_agreement = 0.9\n", 'min_agreement = "0.9"\n', "task[1].min_agreement", "write a number"),
    ("min_agreement = 0.97", "min_agreement = true", "budget.min_agreement", "write a number"),
    ("confidence = 0.99", "confidence = 99", "budget.confidence", "below 1"),
    ("max_weights_bytes = 200_000", "max_weights_bytes = 0", "budget.max_weights_bytes", "above 0"),
    ("max_weights_bytes = 200_000", "max_weights_bytes = 2e5", "budget.max_weights_bytes", "whole number"),
    ("max_macs = 1_000_000", "max_macs = -1", "budget.max_macs", "above 0"),
    ("max_latency_us = 900", "max_latency_us = inf", "budget.max_latency_us", "above 0"),
    ('frames = "frames"', 'frames = "no such"', "frames", "write a folder of images"),
    ('frames = "frames"', 'frames = "other.txt"', "frames", "write a folder of images"),
    ('frames = "frames"', "", "task[0].frames", "name unlabeled frames"),
    ('frames = "frames"', 'statistics = "pose.npy"', "statistics", ".mgstats"),
    ('model = "garment.onnx"', 'model = "missing.onnx"', "task[0].model", "write an .onnx or .tflite file"),
    ('model = "garment.onnx"', 'model = "other.txt"', "task[0].model", "write an .onnx or .tflite file"),
    ('model = "garment.onnx"', 'model = "frames"', "task[0].model", "write an .onnx or .tflite file"),
    ('model = "garment.onnx"', 'model = "garment.onnx"\nstate = "pose.pt"', "task[0].state", "remove state"),
    ('labels = "labels.txt"', "labels = []", "task[0].labels", "write a list"),
    ('labels = "labels.txt"', "labels = [1]", "task[0].labels[0]", "write text"),
    ('labels = "labels.txt"', 'labels = "no.txt"', "task[0].labels", "write a list"),
    ('name = "pose"', 'name = "Garment"', "task[1].name", "a name of its own"),
    ('name = "pose"', 'name = "3d pose"', "task[1].name", "starts with a letter"),
    ('name = "home"', 'name = "../home"', "bundle.name", "letters, digits"),
    ('kind = "classification"', 'kind = "classification"\ntolerance = 1', "task[0].tolerance", "remove it"),
    ("tolerance = 2", "tolerance = 0", "task[1].tolerance", "above 0"),
    ("size = [28, 32]", "", "task[0].preprocessing.size", "[height, width]"),
    ("size = [28, 32]", "size = [28]", "task[0].preprocessing.size", "[height, width]"),
    ("size = [28, 32]", "size = [28, 0]", "task[0].preprocessing.size[1]", "above 0"),
    ('color = "grey"', 'color = "gray"', "task[0].preprocessing.color", "did you mean grey"),
    ("mean = [1, 2, 3]", "mean = [1, 2]", "task[1].preprocessing.mean", "or 3 for color 'rgb'"),
    ("scale = 0.01", "scale = 0", "task[0].preprocessing.scale", "1 / (255 * std)"),
    ("pad = 114", "pad = 256", "task[0].preprocessing.pad", "from 0 to 255"),
    ('resize = "fit"', 'resize = "fill"', "task[0].preprocessing.pad", 'write resize = "fit"'),
    ('share = { pose = "relu3" }', 'share = { poes = "relu3" }', "graft.share.poes", "did you mean pose"),
    ('share = { pose = "relu3" }', 'share = "relu3"', "graft.share", "a table of TASK"),
    ("seed = 7", "seed = -1", "graft.seed", "at least 0"),
    ('precision = "int8"', 'precision = "int9"', "convert.precision", "did you mean int8"),
    ('precision = "int8"', 'precision = "float32"', "convert.keep_float", "remove it"),
    ("[convert]", "[convert", "", "correct that line"),
]


@pytest.mark.parametrize(
    ("old", "new", "place", "remedy"), BAD, ids=[new.split("\n")[-1] or old for old, new, *_ in BAD]
)
def test_what_is_wrong_is_named_with_its_place_and_remedy(
    folder: Path, old: str, new: str, place: str, remedy: str
) -> None:
    assert old in GOOD
    with pytest.raises(ConfigurationError) as caught:
        load(folder, GOOD.replace(old, new, 1))
    message = str(caught.value)
    assert caught.value.exit_code == 78
    assert message.startswith(f"{folder / 'multigraft.toml'}: {place}" if place else str(folder / "multigraft.toml"))
    assert remedy in message
    assert "\n" not in message and message.endswith(".")


def test_files_that_are_no_settings_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        Settings.load(folder / "none.toml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Settings.load(folder)
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        Settings.load(folder / "binary.toml")
    with pytest.raises(ConfigurationError, match="task is missing"):
        load(folder, "")
    with pytest.raises(ConfigurationError, match="task is empty"):
        load(folder, "task = []")


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    line=st.integers(0, len(GOOD.splitlines()) - 1),
    value=st.one_of(
        st.text(max_size=8), st.sampled_from(["", "[]", "{}", "true", "-1", "0", "1e400", '""', "[[1]]", "1979-05-27"])
    ),
)
def test_any_one_line_changed_is_read_or_refused_in_one_sentence(folder: Path, line: int, value: str) -> None:
    lines = GOOD.splitlines()
    lines[line] = f"{lines[line].split('=')[0]}= {value}"
    try:
        load(folder, "\n".join(lines).encode("utf-8", "ignore").decode())
    except MultigraftError as error:
        assert isinstance(error, ConfigurationError)
        assert str(error).endswith(".")


@pytest.mark.parametrize(
    ("agreement", "confidence", "frames"), [(0.95, 0.95, 59), (0.99, 0.95, 299), (0.99, 0.99, 459)]
)
def test_frames_needed_is_the_known_rule_of_three_figure(
    folder: Path, agreement: float, confidence: float, frames: int
) -> None:
    text = GOOD.replace("0.97", str(agreement)).replace("confidence = 0.99", f"confidence = {confidence}")
    assert load(folder, text).frames_needed == frames


def test_share_on_the_command_line_overrides_the_file(folder: Path) -> None:
    settings = load(folder, GOOD)
    assert parse_share(["pose=relu1", "garment=stem"], settings) == {"pose": "relu1", "garment": "stem"}
    assert parse_share([], settings) == {"pose": "relu3"}
    with pytest.raises(ConfigurationError, match="TASK=LAYER"):
        parse_share(["pose"], settings)
    with pytest.raises(ConfigurationError, match="did you mean pose"):
        parse_share(["pos=relu1"], settings)


def test_the_documentation_is_the_code() -> None:
    page = Path(__file__).parents[3] / "docs" / "settings.md"
    assert page.read_text("utf-8") == settings_docs.markdown()


def test_the_documented_example_loads(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", settings_docs.markdown(), re.DOTALL)
    assert example is not None
    (tmp_path / "frames").mkdir()
    (tmp_path / "garments.txt").write_text("shirt\n", "utf-8")
    for name in ("garment.onnx", "digit.onnx"):
        (tmp_path / name).write_bytes(b"")
    assert [t.name for t in load(tmp_path, example[1]).tasks] == ["garment", "digit"]


def test_a_byte_order_mark_is_no_part_of_settings_and_labels(folder: Path) -> None:
    (folder / "labels.txt").write_text("shirt\n boot \n", "utf-8-sig")
    path = folder / "multigraft.toml"
    path.write_text(GOOD, "utf-8-sig")
    assert Settings.load(path).tasks[0].labels == ("shirt", "boot")


def test_a_line_of_one_character_is_a_label_whatever_it_is(folder: Path) -> None:
    """An alphabet may hold spaces of several scripts, and characters at which some programs end a line."""
    alphabet = ("a", " ", "\u3000", "\u2028", "\x0b", "b c", "d")
    (folder / "labels.txt").write_text("a\r\n \n\u3000\n\n\u2028\n\x0b\n  \n b c \nd\n", "utf-8")
    path = folder / "multigraft.toml"
    path.write_text(GOOD, "utf-8")
    assert Settings.load(path).tasks[0].labels == alphabet
