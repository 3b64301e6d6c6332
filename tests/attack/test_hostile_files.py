"""Files that a hostile sender makes, through the real command line: one sentence, little memory, no hang."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.errors import MultigraftError
from multigraft.refit.refit_plan import Refit
from tests.attack.children import answer_of, command
from tests.attack.hostile_makers import (
    Make,
    both,
    deflated_member,
    external,
    golden,
    large_deflated,
    large_statistics,
    link,
    linked_member,
    lying_member,
    manifest,
    named,
    npy,
    onnx_functions,
    overlapping,
    picture,
    pipe,
    postscript,
    replaced,
    settings,
    sparse,
    sparse_zip,
    statistics,
    twice,
    written,
)
from tests.bundle_builder import build
from tests.converters.graft.networks import residual_network

USAGE, CONFIGURATION = 2, 78
SETTINGS = """
frames = "frames.npy"
[[task]]
name = "first"
model = "first.onnx"
kind = "classification"
{more}
[task.preprocessing]
size = [8, 8]
color = "grey"
"""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return build().bundle


@pytest.fixture
def folder(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a good bundle, a picture and what a build needs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MULTIGRAFT_DEBUG", raising=False)
    bundle.write("good.graft")
    Bundle.open("good.graft").deploy("good")
    np.save("frames.npy", np.zeros((200, 8, 8), np.uint8))
    onnx.save(residual_network("first", 0).model, "first.onnx")
    Path("multigraft.toml").write_text(SETTINGS.format(more=""), "utf-8")
    yield tmp_path
    # Sparse files and pictures of zeros are large where something copies them.
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.unlink()


def opened_refit() -> int:
    try:
        Refit.open(Path("a.mgrefit"))
    except MultigraftError as error:
        print(f"multigraft: {error}", file=sys.stderr)
        return error.exit_code
    return 0


INSPECT, DEPLOYED, RUN = "inspect a.graft", "inspect good", "run a.graft --source frames.npy --frames 1"
GOOD_RUN, BUILD = "run good.graft --frames 1 --source", "graft multigraft.toml -o out.onnx"
STATISTICS, REFIT = "calibrate combine a.mgstats -o out.mgstats", "open a.mgrefit"
BRACKETS = "[" * 100_000

CASES: dict[str, tuple[Make, str, str]] = {
    "name that climbs": (named("../evil"), INSPECT, "holds ../evil, which"),
    "absolute name": (named("/evil"), INSPECT, "holds /evil, which"),
    "name with an escape": (named("a\x1b[2J"), INSPECT, r"holds a\u001b[2J, which"),
    "name twice": (twice, INSPECT, "two members of one name"),
    "member that is a link": (linked_member, INSPECT, "model.tflite is no regular file"),
    "member that unpacks to 300 MB": (deflated_member, INSPECT, "compressed in a way"),
    "member that lies about its size": (lying_member, INSPECT, "compressed in a way"),
    "20,000 entries": (overlapping(20_000), INSPECT, "holds 20000 members"),
    "entries over each other": (overlapping(50), INSPECT, "compressed in a way"),
    "manifest of 500 MB": (lambda f: sparse_zip("a.graft", "manifest.json", 500 << 20), INSPECT, "may have 4194304"),
    "manifest of nothing but brackets": (manifest(BRACKETS.encode()), INSPECT, "is not JSON"),
    "manifest with half a character": (manifest(lambda m: m.update(name="\ud800")), INSPECT, "half of a character"),
    "manifest with a name that climbs": (
        manifest(lambda m: m.update(files={"../evil": {"sha256": "", "size": 1}})), INSPECT, "lacks ../evil"
    ),
    "task without an output": (manifest(lambda m: m["tasks"][0].update(outputs=[])), RUN, "has no output"),
    "bundle that is a device": (link("a.graft"), INSPECT, "no regular file"),
    "bundle that is a pipe": (pipe("a.graft"), INSPECT, "no regular file"),
    "deployed file that is a device": (link("good/model.tflite"), DEPLOYED, "no regular file"),
    "deployed file that is a link": (link("good/model.tflite", "../good.graft"), DEPLOYED, "no regular file"),
    "deployed file that is a pipe": (pipe("good/manifest.json"), DEPLOYED, "no regular file"),
    "deployed manifest of 500 MB": (sparse("good/manifest.json", 500 << 20), DEPLOYED, "may have 4194304"),
    "deployed model of other size": (sparse("good/model.tflite"), DEPLOYED, "is not what was built"),
    "golden array of absurd shape": (golden(npy("'|i1'", f"({1 << 60}, 9)", b"1")), RUN, "said to be int8"),
    "golden array of negative shape": (golden(npy("'|i1'", "(-1, 9)", b"1")), RUN, "has shape"),
    "golden array of objects": (golden(npy("'|O'", "(1,)", b"cos\nsystem\n")), RUN, "something else than numbers"),
    "golden array that is a puzzle": (golden(npy("'|i1'", "(" * 90, b"1")), RUN, "header is damaged"),
    "golden arrays that are none": (replaced("golden/inputs.npz", b"text"), RUN, "is not a NumPy file"),
    "statistics that are a device": (link("a.mgstats"), STATISTICS, "no regular file"),
    "statistics that are a pipe": (pipe("a.mgstats"), STATISTICS, "no regular file"),
    "statistics that unpack to 300 MB": (large_statistics, STATISTICS, "unpacks to more than"),
    "statistics over each other": (overlapping(2_000), STATISTICS, "lie over each other"),
    "refit file that is a device": (link("a.mgrefit"), REFIT, "no regular file"),
    "refit file of an absurd shape": (
        statistics("a.mgrefit", manifest=npy("'|u1'", f"({1 << 50},)")), REFIT, "said to be uint8"
    ),
    "refit file of brackets": (
        statistics("a.mgrefit", manifest=npy("'|u1'", "(100000,)", BRACKETS.encode())), REFIT, "nested too deeply"
    ),
    "frames of an absurd shape": (
        written("a.npy", npy("'|u1'", f"({1 << 50}, 9, 9)")), f"{GOOD_RUN} a.npy", "to be"
    ),
    "frames that are a pipe": (pipe("a.npy"), f"{GOOD_RUN} a.npy", "no regular file"),
    "frames that unpack to 300 MB": (lambda f: large_deflated("a.npz", "a.npy"), f"{GOOD_RUN} a.npz", "a.npz"),
    "picture of 177 megapixels": (picture("a.png", 13_312, 13_312), f"{GOOD_RUN} a.png", "13312 x 13312 pixels"),
    "picture of 4 gigapixels": (picture("a.png", 65_535, 65_535), f"{GOOD_RUN} a.png", "a.png"),
    "picture that is a program": (postscript, f"{GOOD_RUN} a.png", "is not a readable image"),
    "settings of 100,000 brackets": (settings(f"a = {BRACKETS}"), BUILD, "nested too deeply"),
    "settings that are a device": (link("multigraft.toml"), BUILD, "no regular file"),
    "settings that are a pipe": (pipe("multigraft.toml"), BUILD, "no regular file"),
    "settings of 300 MB": (sparse("multigraft.toml"), BUILD, "may have 262144"),
    "labels that are a device": (
        both(settings(SETTINGS.format(more='labels = "l"')), link("l")), BUILD, "no regular file"
    ),
    "network that is a device": (link("first.onnx"), BUILD, "no regular file"),
    "network that is a pipe": (pipe("first.onnx"), BUILD, "no regular file"),
    "network that unfolds without end": (onnx_functions(30), BUILD, "unfolds to more than"),
    "network that calls itself": (onnx_functions(3, recursive=True), BUILD, "call themselves"),
    "network with weights before the file": (external(offset="-5", length="4"), BUILD, "keeps weights"),
    "network with weights at no place": (external(offset="x"), BUILD, "says wrongly where"),
    "model that is a pipe": (pipe("a.tflite"), "firmware a.tflite -o fw --board pico", "no regular file"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_one_sentence(name: str, folder: Path) -> None:
    make, argv, says = CASES[name]
    make(folder)
    outside = sorted(folder.parent.iterdir())
    # A build reads a refit file after the networks, whose libraries take more memory than is allowed here.
    answer = answer_of(opened_refit) if argv == REFIT else command(argv.split())
    assert says in answer.sentence, answer
    assert answer.code == (CONFIGURATION if "settings" in name or "labels" in name else USAGE), answer
    assert "Traceback" not in answer.text and answer.sentence.endswith(".")
    assert sorted(folder.parent.iterdir()) == outside


def test_the_good_files_are_read_within_the_same_bounds(folder: Path) -> None:
    for argv in (INSPECT.replace("a.graft", "good.graft"), DEPLOYED, f"{GOOD_RUN} frames.npy"):
        answer = command(argv.split())
        assert answer.code == 0, (argv, answer)


def test_equal_content_is_the_same_however_it_is_kept(bundle: Bundle, folder: Path) -> None:
    kept, deployed = Bundle.open("good.graft"), Bundle.open("good")
    assert kept.manifest == deployed.manifest == bundle.manifest
    assert kept.model == deployed.model == bundle.model


def test_what_no_command_foresaw_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: object) -> None:
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr(Bundle, "open", broken)
    answer = command(["inspect", "good.graft"])
    assert answer.code == 70
    assert "ZeroDivisionError: division by; this is a defect of multigraft, please report it" in answer.sentence
    assert "Traceback" not in answer.text
    monkeypatch.setenv("MULTIGRAFT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["inspect", "good.graft"])
