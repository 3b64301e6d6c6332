"""The environment of onnx2tf, proven with a real virtual environment, real pip, and a wheel made here."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from multigraft.converters.conversion import onnx2tf_environment as environments
from multigraft.converters.conversion.pythons import SERVING, find_python
from multigraft.errors import ConversionError, UsageError

WHEEL = "tinytool-1.2.3-py3-none-any.whl"


@pytest.fixture(scope="module")
def python(onnx2tf_environment: environments.Environment) -> Path:
    """An interpreter that serves: the one of the real environment."""
    return onnx2tf_environment.python


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A wheel in the only folder that pip looks into."""
    path = tmp_path / "wheels" / WHEEL
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        info = "tinytool-1.2.3.dist-info"
        archive.writestr("tinytool.py", "answer = 42\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinytool\nVersion: 1.2.3\n")
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    yield path


@pytest.fixture
def requirements(wheel: Path) -> Path:
    """A file that asks for exactly that wheel."""
    path = wheel.with_name("requirements.txt")
    path.write_text(f"tinytool==1.2.3 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return path


def make(cache: Path, requirements: Path, python: Path, lines: list[str] | None = None) -> environments.Environment:
    report = lines.append if lines is not None else lambda line: None
    return environments._ensure(cache, requirements, report, python, package="tinytool")


def test_it_is_made_once_works_offline_after_and_an_unfinished_one_is_made_again(
    tmp_path: Path, wheel: Path, requirements: Path, python: Path
) -> None:
    cache = tmp_path / "a folder" / "cache"
    lines: list[str] = []
    made = make(cache, requirements, python, lines)
    assert made.version == "1.2.3"
    assert any("tinytool 1.2.3" in line for line in lines)
    run = subprocess.run(
        [made.python, "-c", "import tinytool; print(tinytool.answer)"],
        env=made.variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "42"

    wheel.rename(tmp_path / "gone")
    lines.clear()
    assert make(cache, requirements, python, lines) == made and not lines

    (made.python.parent.parent / "multigraft-ready.json").unlink()
    with pytest.raises(ConversionError, match="connect to a package index once"):
        make(cache, requirements, python, lines)
    log = next(cache.glob("*.log"))
    assert "tinytool" in log.read_text()

    (tmp_path / "gone").rename(wheel)
    assert make(cache, requirements, python) == made
    assert not list(cache.glob("*.log"))


def test_a_wheel_with_another_digest_is_not_installed(
    tmp_path: Path, wheel: Path, requirements: Path, python: Path
) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("added.py", "")
    with pytest.raises(ConversionError, match="could not be made"):
        make(tmp_path / "cache", requirements, python)
    assert not list((tmp_path / "cache").rglob("tinytool.py"))


def test_two_processes_at_once_make_one_environment(tmp_path: Path, requirements: Path, python: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from multigraft.converters.conversion import onnx2tf_environment as e; "
        "cache, requirements, python = map(Path, sys.argv[1:]); "
        "print(e._ensure(cache, requirements, print, python, package='tinytool').python)"
    )
    arguments = [str(tmp_path / "cache"), str(requirements), str(python)]
    runs = [
        subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [run.communicate()[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert outputs[0][-1] == outputs[1][-1]
    made = [lines for lines in outputs if any(line.startswith("making") for line in lines)]
    assert len(made) == 1


def test_a_configured_python_is_used_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, onnx2tf_environment: environments.Environment
) -> None:
    monkeypatch.setenv(environments.PYTHON_VARIABLE, str(onnx2tf_environment.python))
    assert environments.ensure() == onnx2tf_environment
    monkeypatch.setenv(environments.PYTHON_VARIABLE, str(tmp_path / "no" / "python"))
    with pytest.raises(UsageError, match=r"MULTIGRAFT_ONNX2TF.*no/python"):
        environments.ensure()
    monkeypatch.setenv(environments.PYTHON_VARIABLE, sys.executable)
    with pytest.raises(UsageError, match="is not a Python with onnx2tf"):
        environments.ensure()


def test_a_configured_python_with_an_older_onnx2tf_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, python: Path
) -> None:
    folder = tmp_path / "old"
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
    info = next(folder.glob("lib/python*/site-packages")) / "onnx2tf-1.29.24.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: onnx2tf\nVersion: 1.29.24\n")
    monkeypatch.setenv(environments.PYTHON_VARIABLE, str(folder / "bin" / "python"))
    with pytest.raises(UsageError, match=r"holds onnx2tf 1\.29\.24, .*install onnx2tf 2\.6"):
        environments.ensure()


def test_a_cache_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.delenv(environments.PYTHON_VARIABLE, raising=False)
    monkeypatch.setenv(environments.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(UsageError, match="MULTIGRAFT_CACHE"):
        environments.ensure()


def test_everything_that_is_installed_is_known_by_digest() -> None:
    text = environments.REQUIREMENTS.read_text("utf-8")
    pinned = re.findall(r"^(\S+)==\S+ \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert "onnx2tf" in dict(pinned)
    assert "tensorflow" not in dict(pinned)
    assert len(pinned) == text.count("==")


def shim(folder: Path, name: str, text: str = "echo 'pyenv: command not found' >&2; exit 127") -> Path:
    path = folder / name
    folder.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose PATH holds shims that only print an error; pyenv and uv have nothing, the index neither."""
    for name in ("python3.13", "python3.12", "python3", "python"):
        shim(tmp_path / "shims", name)
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(sys, "executable", str(shim(tmp_path / "own", "python")))
    return tmp_path


def test_shims_that_only_print_an_error_do_not_stop_the_search(bare_machine: Path, python: Path) -> None:
    good = bare_machine / "further" / "python3.12"
    shim(good.parent, good.name, f'exec "{python}" "$@"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{bare_machine / 'shims'}:{good.parent}")
        assert find_python(bare_machine / "cache") == good


def test_a_python_of_pyenv_is_taken(bare_machine: Path, python: Path) -> None:
    newest = SERVING[0]
    folder = bare_machine / "pyenv" / "versions"
    folder.mkdir(parents=True)
    for version, text in ((f"{newest}.9", "exit 1"), (f"{newest}.1", f'exec "{python}" "$@"'), ("3.8.18", "exit 0")):
        (folder / version).mkdir()
        shim(folder / version / "bin", "python", text)
    assert find_python(bare_machine / "cache") == folder / f"{newest}.1" / "bin" / "python"


def test_where_there_is_none_and_none_can_be_fetched_it_says_what_to_do(bare_machine: Path) -> None:
    with pytest.raises(ConversionError, match=r"none can be fetched; .*setup-onnx2tf --python PATH"):
        find_python(bare_machine / "cache")


def test_a_python_that_is_asked_for_and_does_not_serve_is_refused(bare_machine: Path, python: Path) -> None:
    assert find_python(bare_machine / "cache", python) == python
    for asked in (bare_machine / "shims" / "python3.13", bare_machine / "none"):
        with pytest.raises(UsageError, match=re.escape(str(asked))):
            find_python(bare_machine / "cache", asked)
