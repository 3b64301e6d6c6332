"""``calibrate combine`` and ``calibrate sites`` over what is found, from folder to files, as a user runs them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from multigraft.cli.calibrate.combine import file_name
from multigraft.cli.main import main
from multigraft.statistics import statistics_file
from tests.converters.fleet.fleet_files import BROKEN, OTHER_CAMERA, content


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(52):
        data = content(number, moved=OTHER_CAMERA if number == 7 else 0.0)
        (tmp_path / "in" / f"{number:02}.mgstats").write_bytes(data)
    (tmp_path / "in" / "broken.mgstats").write_bytes(BROKEN["cut"](90))
    return tmp_path


def test_a_folder_becomes_a_sum_a_table_and_a_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "combine", "in", "-o", "fleet.mgstats"]) == 0
    out, progress = capsys.readouterr()
    assert "4,992 frames of 52 files and 52 sites" in out and "1 are set aside" in out and "site-00007" in out
    assert "a second, 0:00 left" in progress
    assert statistics_file.read("fleet.mgstats").frames == 52 * 96
    with Path("fleet.mgstats.aside.csv").open() as opened:
        (row,) = csv.DictReader(opened)
    assert row["file"].endswith("broken.mgstats") and "not a whole .mgstats file" in row["reason"]
    assert main(["calibrate", "report", "fleet.mgstats", "-o", "report.html"]) == 0
    capsys.readouterr()
    assert main(["calibrate", "sites", "in/*.mgstats", "-o", "sites.parquet", "--report", "p.html", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == said["sites"] == 52 and [one["site"] for one in said["strange"]] == ["site-00007"]
    assert list(said["aside"]) == [row["file"]] and "site-00007" in Path("p.html").read_text()
    names = {"in", "fleet.mgstats", "fleet.mgstats.aside.csv", "report.html", "sites.parquet", "p.html"}
    assert {path.name for path in place.iterdir()} == names | {"sites.parquet.aside.csv"}


def test_sums_by_site_and_what_is_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["calibrate", "combine", "in", "--by", "site,day", "--exclude", "site-0000[0-8]", "-o", "sums", "--json"]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == len(said["written"]) == 43 and said["frames"] == 43 * 96
    assert statistics_file.read("sums/site-00010 2026-11-05.mgstats").sites == ("site-00010",)
    assert len(list(Path("sums").iterdir())) == 43


def test_clocks_that_are_ahead_patterns_that_fit_nothing_and_odd_names_are_told(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "in" / "ahead.mgstats").write_bytes(content(60, day="2999-01-01", name="a\x1b[31m\nb", moved=OTHER_CAMERA))
    (place / "in" / "0\n\x1b.mgstats").write_bytes(b"")
    patterns = [text for pattern in ("hal-*", "site-0000[1-2]", "*/0\n*") for text in ("--exclude", pattern)]
    command = ["calibrate", "combine", "in", *patterns, "-o", "fleet.mgstats"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "51 of 55 files count, 2 left out" in out
    assert "--exclude hal-* fits no address and no site" in out and out.count(" fits no address") == 1
    assert "the clocks of 1 sites are ahead: a\\u001b[31m\\u000ab (2999-01-01)" in out
    assert "0\\u000a\\u001b.mgstats: it is not a whole" in out and "\x1b" not in out
    assert "2 sites differ from the rest" in out
    assert main([*command, "--json"]) == main(["calibrate", "sites", "in", *patterns, "-o", "s.parquet", "--json"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert json.loads(line)["idle"] == ["hal-*"]


WRONG = {
    "no file": ["combine", "none/*.mgstats", "-o", "a.mgstats"],
    "no good file": ["combine", "in/broken*", "-o", "a.mgstats"],
    "no such key": ["combine", "in", "--by", "hour", "-o", "a"],
    "no such engine": ["sites", "in", "--on", "spark", "-o", "a.parquet"],
    "no folder": ["sites", "in", "-o", "none/a.parquet"],
    "a file for a folder": ["combine", "in", "--by", "site", "-o", "in/00.mgstats"],
    "no such protocol": ["sites", "nosuch://a/b", "-o", "a.parquet"],
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_is_said_in_one_sentence_and_leaves_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    before = {path.name for path in place.iterdir()}
    assert main(["calibrate", *WRONG[case]]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("multigraft: ")]
    assert len(said) == 1 and said[0].endswith(".")
    assert {path.name for path in place.iterdir()} == before


def test_only_addresses_take_fsspec_and_names_are_looked_at_first(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    assert main(["calibrate", "combine", "in", "-o", "fleet.mgstats"]) == 0
    for command, said in (
        (["combine", "s3://fleet/*.mgstats", "-o", "f.mgstats"], "s3://fleet/*.mgstats takes fsspec"),
        (["combine", "in", "-o", "s3://fleet/f.mgstats"], "s3://fleet/f.mgstats takes fsspec"),
        (["sites", "/nowhere/at/all", "-o", "s3://fleet/s.parquet"], "/nowhere/at/all names no file"),
    ):
        capsys.readouterr()
        assert main(["calibrate", *command]) == 2
        assert said in capsys.readouterr().err
    assert not list(place.glob("*.combining*"))


@pytest.mark.parametrize("key", ["../../etc", ".", "a/b\\c", "x" * 200, "Größe 2026-11-05", "\x1b[31m"])
def test_names_of_files_stay_in_their_folder(key: str) -> None:
    name = file_name(key)
    assert "/" not in name and "\\" not in name and not name.startswith(".") and len(name) < 200 and name.isprintable()
    assert len({file_name(key), file_name(key + "y"), file_name("z" + key)}) == 3
