"""Commands and programs on the pages are ones that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from docs.pages import commands
from docs.pages.sources import DOCS, ROOT
from tests.bundle_builder import build

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
EVERYWHERE = {"--json", "--help"}


def options() -> dict[str, set[str]]:
    """Command (with its sub-command) to its options."""
    sections = re.split(r"^##+ multigraft ", commands.markdown(), flags=re.MULTILINE)[1:]
    return {
        section.splitlines()[0]: set(re.findall(r"^\| .*?`(-[\w-]+)", section, re.MULTILINE))
        | set(re.findall(r"`(--?[a-z][\w-]*)[ `]", section))
        for section in sections
    }


KNOWN = options()


def typed(page: str) -> Iterator[str]:
    """What a reader is told to type, after ``multigraft``; comments, brackets and ends of commands are left out."""
    for line in re.findall(r"(?:^|[ /`(=])multigraft ([a-z][^`\n]*)", page, re.MULTILINE):
        yield re.split(r"\s\||;|&&|\s+-> |\)$", line)[0].replace("[", "").replace("]", "").strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_exists_with_its_options(page: Path) -> None:
    for text in typed(_code(page.read_text("utf-8"))):
        words = shlex.split(text)
        command = " ".join(words[:2]) if " ".join(words[:2]) in KNOWN else words[0]
        is_sentence = page.name == "troubleshooting.md" and command not in KNOWN
        assert is_sentence or command in KNOWN, text
        for word in words[1:]:
            if not is_sentence and re.fullmatch(r"--?[a-z][a-z-]*", word):
                assert word in KNOWN[command] | EVERYWHERE, f"{word} of: multigraft {text}"


def _code(page: str) -> str:
    """The page's code alone: fenced, indented, and in a line."""
    fenced = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^    (.*)$", rest, re.MULTILINE)
    inline = [f"`{long or short}`" for long, short in re.findall(r"`` (.+?) ``|`([^`]+)`", rest)]
    return re.sub(r"\s#.*", "", "\n".join([*fenced, *indented])) + "\n" + "\n".join(inline)


def test_commands_are_seen_and_wrong_ones_refused() -> None:
    page = "Type `multigraft run home.graft --nothing`:\n\n    ~/multigraft/bin/multigraft bench a.graft  # fast?\n"
    assert list(typed(_code(page))) == ["bench a.graft", "run home.graft --nothing"]
    assert "--nothing" not in KNOWN["run"]
    assert {"--source", "--frames", "--tasks"} <= KNOWN["run"]
    assert "--against" in KNOWN["calibrate validate"]


def test_the_example_of_the_interface_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = re.search(r"```python\n(.*?)```", (DOCS / "api.md").read_text("utf-8"), re.DOTALL)
    assert example is not None
    build().bundle.write(tmp_path / "home.graft")
    monkeypatch.chdir(tmp_path)
    exec(compile(example[1], "api.md", "exec"), {"frame": np.zeros((120, 160, 3), np.uint8)})
    assert float(capsys.readouterr().out.split()[-1]) > 0


def test_every_extra_on_a_page_exists() -> None:
    extras = re.search(r"\[options\.extras_require\]\n(.*?)\n\[", (ROOT / "setup.cfg").read_text("utf-8"), re.DOTALL)
    assert extras is not None
    known = set(re.findall(r"^(\w+) =", extras[1], re.MULTILINE))
    for page in PAGES:
        text = page.read_text("utf-8")
        used = {name for names in re.findall(r"(?:'\.|multigraft)\[([\w,]+)\]", text) for name in names.split(",")}
        assert used <= known, page.name
    listed = set(re.findall(r"^\| `(\w+)` \|", (DOCS / "install.md").read_text("utf-8"), re.MULTILINE))
    assert listed == known - {"dev", "docs", "fuzzing", "mutants", "tests"}
