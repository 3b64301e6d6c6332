"""``run`` with pictures, tables, COCO lists, calm answers, identities and events, as a user calls it."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multigraft.cli.main import main
from multigraft.cli.shared.answer_output import answer_writer
from multigraft.cli.shared.coco_ids import CocoIds
from multigraft.runtime import Engine
from multigraft.runtime.formats.table_rows import COLUMNS
from tests.box_bundle import box_bundle, bright_frames
from tests.bundle_builder import build


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boxes")
    box_bundle().write(folder / "boxes.graft")
    build().bundle.write(folder / "classes.graft")
    frames = bright_frames(20, 24, None, 28, 32)
    np.save(folder / "frames.npy", frames)
    (folder / "frames").mkdir()
    for number, frame in zip((139, 285), frames, strict=False):
        Image.fromarray(frame).save(folder / "frames" / f"{number:012d}.jpg")
    return folder


def run(home: Path, *more: str, bundle: str = "boxes", source: str = "frames.npy") -> int:
    return main(["run", str(home / f"{bundle}.graft"), "--source", str(home / source), "--no-self-test", *more])


def test_a_coco_list_holds_boxes_where_they_are(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "--format", "coco") == 0
    records = json.loads(capsys.readouterr().out)
    assert [r["image_id"] for r in records] == [0, 1, 3, 4]
    for record, left in zip(records, (20, 24, 28, 32), strict=True):
        x, y, width, height = record["bbox"]
        # The network marks lines a little larger than they are.
        assert abs(x + width / 2 - (left + 20)) < 3
        assert abs(y + height / 2 - 55) < 3
        assert (record["category_id"], record["label"], record["task"]) == (1, "line", "line")
        assert record["area"] == pytest.approx(width * height, abs=0.01)
        assert len(record["segmentation"][0]) == 8


def test_numbers_of_coco_pictures_come_from_their_names(home: Path, tmp_path: Path) -> None:
    assert run(home, "--format", "coco", "-o", str(tmp_path / "found.json"), source="frames") == 0
    assert [r["image_id"] for r in json.loads((tmp_path / "found.json").read_text("utf-8"))] == [139, 285]


def coco_file(folder: Path, name: str = "Line", *files: str) -> Path:
    path = folder / "labels.json"
    images = [{"id": 70 + n, "file_name": f"val/{file}"} for n, file in enumerate(files)]
    path.write_text(
        json.dumps({"images": images, "annotations": [], "categories": [{"id": 44, "name": name}]}), "utf-8"
    )
    return path


def test_numbers_of_a_data_set_are_taken_from_its_file(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco", reason="multigraft[eval] is not installed")
    truth = coco_file(tmp_path, "Line", "000000000285.jpg", "000000000139.jpg")
    found = tmp_path / "found.json"
    assert run(home, "--format", "coco", "--coco", str(truth), "-o", str(found), source="frames") == 0
    assert [(r["image_id"], r["category_id"]) for r in json.loads(found.read_text("utf-8"))] == [(71, 44), (70, 44)]
    assert len(pycocotools.COCO(str(truth)).loadRes(str(found)).getAnnIds(catIds=[44])) == 2


def test_numbers_of_classes_stand_in_the_bundle(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box_bundle(category_ids=(18,)).write(tmp_path / "boxes.graft")
    np.save(tmp_path / "frames.npy", bright_frames(20))
    assert run(tmp_path, "--format", "coco") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["category_id"], record["label"]) == (18, "line")


@pytest.mark.parametrize(
    ("name", "files", "sentence"),
    [
        ("dog", (), "has none of the classes line"),
        ("line", ("7.jpg",), "names no picture 000000000139.jpg"),
        ("line", None, "holds no categories in COCO's form"),
    ],
)
def test_a_data_set_that_does_not_fit_is_one_sentence(
    name: str, files: tuple[str, ...] | None, sentence: str, home: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = coco_file(tmp_path, name, *(files or ()))
    if files is None:
        path.write_text("[]", "utf-8")
    assert run(home, "--format", "coco", "--coco", str(path), source="frames") in (1, 2, 65, 66, 78)
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_a_table_has_a_row_per_answer_and_one_header(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "--format", "csv") == 0
    text = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert [r["frame"] for r in rows if r["kind"] == "box"] == ["0", "1", "3", "4"]
    assert [r["frame"] for r in rows if r["kind"] == "class"] == ["0", "1", "2", "3", "4"]
    box = next(r for r in rows if r["kind"] == "box")
    assert float(box["left"]) < 22 < 58 < float(box["right"])


def test_pictures_are_named_after_their_frames(home: Path, tmp_path: Path) -> None:
    assert run(home, "--draw", str(tmp_path / "out"), "-o", str(tmp_path / "lines.jsonl")) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"frame-{i:06d}.png" for i in range(5)]
    assert [json.loads(line)["frame"] for line in (tmp_path / "lines.jsonl").read_text("utf-8").splitlines()] == [
        *range(5)
    ]
    with (
        Image.open(tmp_path / "out" / "frame-000000.png") as image,
        Image.open(tmp_path / "out" / "frame-000002.png") as none,
    ):
        assert image.width == none.width == 384, "128 pixels are magnified three times"
        assert (np.asarray(image)[:384] != np.asarray(none)[:384]).any()
    assert run(home, "--draw", str(tmp_path / "named"), source="frames") == 0
    assert sorted(p.name for p in (tmp_path / "named").iterdir()) == ["000000000139.png", "000000000285.png"]


def test_pictures_replace_nothing_of_others(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "frame-000000.png").write_bytes(b"mine")
    assert run(home, "--draw", str(tmp_path)) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "frame-000000.png").read_bytes() == b"mine"
    assert run(home, "--draw", str(tmp_path), "--force") == 0
    assert (tmp_path / "frame-000000.png").read_bytes() != b"mine"
    assert run(home, "--draw", str(home / "frames"), "--force", source="frames") == 2
    assert "where the frames come from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "bundle", "said"),
    [
        (["--format", "coco"], "classes", "gives boxes"),
        (["--enter", "0.5"], "boxes", "--leave"),
        (["--enter", "0.2", "--leave", "0.5"], "boxes", "lower score"),
        (["--steady", "0"], "boxes", "majority of 0"),
        (["--events", "--format", "csv"], "boxes", "--format"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], bundle: str, said: str
) -> None:
    assert run(home, *arguments, "-o", str(tmp_path / "out"), bundle=bundle) == 2
    shown = capsys.readouterr().err.strip()
    assert said in shown
    assert "\n" not in shown
    assert not list(tmp_path.iterdir())


def test_events_are_printed_when_something_changes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "--events", "--tasks", "line") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(e["frame"], e["event"], e["label"]) for e in events] == [
        (0, "appears", "line"),
        (2, "vanishes", "line"),
        (3, "appears", "line"),
    ]


def test_one_thing_is_one_event(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "--track", "--tasks", "line") == 0
    lines = [json.loads(line)["answers"]["line"]["detections"] for line in capsys.readouterr().out.splitlines()]
    assert [[one["id"] for one in line] for line in lines] == [[1], [1], [], [1], [1]]
    assert run(home, "--track", "--events", "--tasks", "line") == 0
    events: list[Any] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events == [{"frame": 0, "event": "appears", "task": "line", "label": "line", "id": 1}]


@pytest.mark.parametrize("format_name", ["coco", "csv", "jsonl"])
def test_an_interrupt_that_keeps_python_from_ending_a_block_leaves_a_whole_file(
    home: Path, tmp_path: Path, format_name: str
) -> None:
    """It came where no handler was in force yet, once in some hundred: then the block is garbage and nothing else."""
    engine = Engine(home / "boxes.graft")
    frame = bright_frames(20)[0]
    result = engine.run(frame)
    block = answer_writer(format_name, tmp_path / "found", CocoIds(engine.manifest, None))
    write = block.__enter__()
    write({"frame": 0}, dict.fromkeys(result.answers, frame), result.answers, result.to_json())
    del write, block
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["found"]
    text = (tmp_path / "found").read_text("utf-8")
    assert text.count("\n") >= 1 and (format_name != "coco" or json.loads(text))


@pytest.mark.parametrize("format_name", ["coco", "csv", "jsonl"])
def test_an_interrupt_leaves_a_whole_file(home: Path, tmp_path: Path, format_name: str) -> None:
    np.save(tmp_path / "many.npy", np.concatenate([bright_frames(20)] * 20_000))
    (tmp_path / "out").mkdir()
    arguments = ["run", str(home / "boxes.graft"), "--source", str(tmp_path / "many.npy"), "--format", format_name]
    arguments += ["-o", str(tmp_path / "found"), "--draw", str(tmp_path / "out"), "--frames", "20000"]
    # Whoever runs the tests in the background may have SIGINT ignored, and children inherit that.
    heard = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    started = heard + "from multigraft.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", started, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not list((tmp_path / "out").glob("frame-000002.png")):
            assert process.poll() is None, process.communicate()
        os.kill(process.pid, signal.SIGINT)
        shown = process.communicate()[1]
        assert process.returncode == 130, shown
    text = (tmp_path / "found").read_text("utf-8")
    if format_name == "coco":
        assert len(json.loads(text)) >= 2
    elif format_name == "csv":
        assert {len(row) for row in csv.reader(io.StringIO(text))} == {len(COLUMNS)}
    else:
        assert [json.loads(line)["frame"] for line in text.splitlines()][:2] == [0, 1]
    for picture in (tmp_path / "out").glob("[!.]*"):
        with Image.open(picture) as image:
            image.load()
