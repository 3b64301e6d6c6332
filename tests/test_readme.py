"""The README is run, not believed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from multigraft.converters.settings.settings import Settings
from tests.bundle_builder import build

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = re.search(r"<!-- example.*?-->\n```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    build().bundle.write(tmp_path / "home.graft")
    monkeypatch.chdir(tmp_path)
    exec(compile(example[1], "README.md", "exec"), {})
    answers, latency = capsys.readouterr().out.splitlines()
    assert 0 <= float(answers.split()[-1]) <= 1
    assert re.fullmatch(r"\d+\.\d+ \{'trunk': .*'head_garment': .*'head_digit': .*\}", latency)


def test_the_settings_example_loads(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert example is not None
    (tmp_path / "frames").mkdir()
    (tmp_path / "garments.txt").write_text("shirt\ntrousers\n", "utf-8")
    for name in ("garment.onnx", "digit.onnx"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "multigraft.toml").write_text(example[1], "utf-8")
    settings = Settings.load(tmp_path / "multigraft.toml")
    assert [task.name for task in settings.tasks] == ["garment", "digit"]
    assert settings.budget.min_agreement == 0.97


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    pages = "".join(path.read_text("utf-8") for path in PAGES)
    for target in set(re.findall(r"`make ([a-z][a-z0-9-]*)`|^    make ([a-z][a-z0-9-]*)", pages, re.MULTILINE)):
        name = "".join(target)
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


def test_links_lead_to_files() -> None:
    for page in PAGES:
        prose = re.sub(r"^    .*$", "", page.read_text("utf-8"), flags=re.MULTILINE)
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", prose):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_it_has_one_picture_and_one_table() -> None:
    assert len(re.findall(r"^!\[", README, re.MULTILINE)) == 1
    assert len(re.findall(r"^\|(?:---\|)+$", README, re.MULTILINE)) == 1
