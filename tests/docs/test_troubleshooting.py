"""Whatever error a user gets, its sentence stands in troubleshooting, with what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from docs.pages import error_sentences, troubleshooting
from docs.pages.causes import CAUSES
from docs.pages.sources import DOCS, trees
from multigraft.bundle.bundle import Bundle
from multigraft.converters.settings.settings import Settings
from multigraft.devices.cameras.sources import open_source
from multigraft.errors import MultigraftError
from multigraft.firmware_gen.boards.boards import board_named
from multigraft.runtime import Engine
from tests.bundle_builder import build

PAGE = (DOCS / "troubleshooting.md").read_text("utf-8")
BUILTINS = {"ValueError", "TypeError", "RuntimeError", "KeyError", "AttributeError", "AssertionError", "LayerError"}
"""Raised where a caller of ours catches them; no user sees them."""
OVER_HTTP = {"RefusedError", "NoAnswerError", "ChannelError"}
"""Said to clients of HTTP, with a status, or between two processes of ours."""
REASONS = {"DamagedError", "ReplyError", "StuckError", "UnreadableError"}
"""What they say completes the sentence of another error, in brackets or behind a colon."""
ROWS = re.findall(
    r"^\| (?:`` (.+?) ``|`(.+?)`) \| (?:`` (.+?) ``|`(.+?)`|report it, with the model) \|", PAGE, re.MULTILINE
)


def test_every_text_of_every_error_is_found() -> None:
    """Read a second way: the literal parts of the arguments of whatever is raised and has a problem and a remedy."""
    said = PAGE.replace("\\|", "|")
    missing = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
                continue
            call = node.exc
            name = ast.unparse(call.func).split(".")[-1]
            if not name.endswith("Error") or name in BUILTINS or name in REASONS | OVER_HTTP or name.startswith("_"):
                continue
            parts = [part for argument in call.args for part in _spoken(argument)]
            missing += [f"{path}:{node.lineno}: {part}" for part in parts if part.strip(" ;:,(") not in said]
    assert missing == []


def _spoken(argument: ast.expr) -> list[str]:
    """Literals of at least two words that stand in the sentence itself, not in an expression inside it."""
    parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
    texts = [part.value for part in parts if isinstance(part, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and len(text.split()) > 1]


def wrong_settings(folder: Path) -> None:
    (folder / "multigraft.toml").write_text("frmes = 1\n", "utf-8")
    Settings.load(folder / "multigraft.toml")


def edited_bundle(folder: Path) -> None:
    path = folder / "home.graft"
    build().bundle.write(path)
    Bundle.open(path).deploy(folder / "home")
    (folder / "home" / "model.tflite").write_bytes(b"another")
    Bundle.open(folder / "home")


@pytest.mark.parametrize(
    "provoke",
    [
        wrong_settings,
        edited_bundle,
        lambda folder: Settings.load(folder / "nothing.toml"),
        lambda folder: Bundle.open(folder / "nothing.graft"),
        lambda folder: open_source(str(folder / "nothing.npy")),
        lambda folder: open_source("fake:blue"),
        lambda folder: Engine(build().bundle).run(np.zeros((4, 4), np.float32)),
        lambda folder: Engine(build().bundle).run(np.zeros((4, 4), np.uint8), tasks=["nothing"]),
        lambda folder: board_named("nothing"),
    ],
)
def test_an_error_that_is_really_raised_is_found(tmp_path: Path, provoke: Callable[[Path], object]) -> None:
    with pytest.raises(MultigraftError) as caught:
        provoke(tmp_path)
    error = caught.value
    found = [row for row in ROWS if _fits(row[0] or row[1], error.problem)]
    assert found, error
    remedies = [remedy or other for _, _, remedy, other in found]
    assert error.remedy.startswith("did you mean") or any(_fits(remedy, error.remedy) for remedy in remedies), error


def _fits(sentence: str, said: str) -> bool:
    pattern = re.sub("‹.*?›", ".+?", re.escape(sentence.replace("\\|", "|")).replace("\\ ", " "))
    return re.fullmatch(pattern, said, re.DOTALL) is not None


def test_every_cause_is_of_an_error_there_is() -> None:
    said = {troubleshooting.bare(sentence.problem) for sentence in error_sentences.sentences()}
    assert [problem for problem in CAUSES if troubleshooting.bare(problem) not in said] == []
    assert all(PAGE.count(cause) >= 1 for cause in CAUSES.values())


def test_every_error_has_a_heading() -> None:
    places = {sentence.path for sentence in error_sentences.sentences()}
    assert {troubleshooting.group_of(place) for place in places} == set(troubleshooting.GROUPS)
    with pytest.raises(LookupError, match="elsewhere"):
        troubleshooting.group_of("elsewhere/file.py")


def test_variables_constants_tables_and_choices_are_read() -> None:
    said = {(s.problem, s.remedy) for s in error_sentences.sentences()}
    assert ("‹source› holds no frames", "give a source with some") in said
    link = "the device at ‹link› has no camera"
    assert (link, "define mg_camera_frame in its firmware, build and flash it") in said
    assert (
        "‹where›: ‹node› is control flow that depends on the frame, or repeats too much",
        "export the network with fixed control flow",
    ) in said
    assert [problem for problem, remedy in said if re.fullmatch("‹[^›]*›", problem) and not remedy] == []
