"""Models that run code are refused before PyTorch is so much as imported, until their user agrees (no PyTorch here)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from multigraft.cli.main import main
from multigraft.converters.importing.importer import load_network
from multigraft.errors import InputError, MissingDependencyError, UsageError
from multigraft.tensors.preprocessing import Preprocessing

SETTINGS = """
frames = "frames.npy"
[[task]]
name = "mine"
model = "{model}"
kind = "classification"
preprocessing = {{ size = [8, 8], color = "rgb" }}
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings whose models leave a file ``ran`` behind when they are opened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MULTIGRAFT_TRUST_CODE", raising=False)
    (tmp_path / "consent_of_mine.py").write_text("open('ran', 'w').close()\ndef make(): pass\n", "utf-8")
    (tmp_path / "net.pt2").write_bytes(b"PK")
    (tmp_path / "frames.npy").write_bytes(b"")
    return tmp_path


def write_settings(folder: Path, model: str) -> None:
    text = SETTINGS.format(model=model)
    (folder / "multigraft.toml").write_text(text, "utf-8")


@pytest.mark.parametrize(
    "command",
    [
        ["build", "multigraft.toml"],
        ["graft", "multigraft.toml"],
        ["calibrate", "plan", "multigraft.toml", "-o", "home.mgplan"],
        ["calibrate", "prepare", "multigraft.toml", "-o", "home.mgtaps"],
    ],
)
@pytest.mark.parametrize("model", ["net.pt2", "consent_of_mine:make"])
def test_no_command_opens_what_runs_code_without_consent(
    hostile: Path, command: list[str], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_settings(hostile, model)
    assert main(command) == UsageError.exit_code
    said = capsys.readouterr().err
    assert "--trust-code" in said and "MULTIGRAFT_TRUST_CODE=1" in said and said.count("\n") <= 2
    assert not (hostile / "ran").exists() and "consent_of_mine" not in sys.modules
    assert not list(hostile.glob("*.mg*")) and not list(hostile.glob("*.graft"))


def test_check_asks_for_consent_and_does_not_say_that_the_network_is_wrong(
    hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "net.pt2"]) == UsageError.exit_code
    said = capsys.readouterr()
    assert "--trust-code" in said.err and "cannot be built" not in said.out


def test_settings_cannot_give_the_consent_themselves(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("trust_code", "trusts_code", "trust-code"):
        write_settings(hostile, "consent_of_mine:make")
        text = (hostile / "multigraft.toml").read_text("utf-8")
        (hostile / "multigraft.toml").write_text(f"{name} = true\n{text}", "utf-8")
        assert main(["build", "multigraft.toml"]) == 78
        assert f"{name} is not a setting" in capsys.readouterr().err
    assert not (hostile / "ran").exists()


@pytest.mark.parametrize("agrees", ["option", "variable"])
def test_with_consent_the_model_is_opened(hostile: Path, monkeypatch: pytest.MonkeyPatch, agrees: str) -> None:
    if agrees == "variable":
        monkeypatch.setenv("MULTIGRAFT_TRUST_CODE", "1")
    # What comes next depends on whether PyTorch is there: it is missing, or does not take the file.
    with pytest.raises((MissingDependencyError, InputError)) as caught:
        load_network(hostile / "net.pt2", trusts_code=agrees == "option")
    assert "PyTorch networks need" in str(caught.value) or "is not an exported program" in str(caught.value)


@pytest.mark.parametrize("said", ["0", "true", "", "yes"])
def test_the_variable_agrees_with_1_alone(hostile: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("MULTIGRAFT_TRUST_CODE", said)
    with pytest.raises(UsageError, match="--trust-code"):
        load_network("consent_of_mine:make", preprocessing=Preprocessing(8, 8), folder=hostile)
    assert not (hostile / "ran").exists()
