"""The design as a test: who may import whom, what a device has to install, what a wheel holds."""

from __future__ import annotations

import ast
import collections
import configparser
import graphlib
import importlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.main import COMMANDS
from multigraft.cli.main import module_of as module_of_command
from tests.bundle_builder import build as build_bundle

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "core": {"core"},
    "devices": {"core", "devices"},
    "runtime": {"core", "devices", "runtime"},
    "calibration": {"core", "devices", "runtime", "calibration"},
    "converters": {"core", "devices", "runtime", "converters"},
    "firmware_gen": {"core", "firmware_gen"},
}
DEVICE_SIDE = ("core", "devices", "runtime", "calibration")
DEVICE_PACKAGES = {"numpy", "ai_edge_litert", "tflite_runtime"}
WORKSTATION_PACKAGES = {"numpy", "onnx", "onnxruntime", "flatbuffers", "scipy"}
NEVER_IMPORTED = {"tensorflow", "onnx2tf", "pandas"}
TORCH_SCRIPTS = {f"converters/demo/{name}.py" for name in ("train", "train_binary", "train_sounds")}
"""Scripts that nobody imports and that are of no use without PyTorch."""
LONGEST_FILE = 400
LARGEST_WHEEL = 2_100_000
"""Bytes that a device downloads."""
MOST_IN_A_ROOM = 20
"""Modules in one folder, ``__init__`` not counted."""
SOURCE_SUFFIXES = {".py", ".md", ".cfg", ".toml", ".in", ".txt", ".yml", ".sh", ""}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


SOURCES = [path for folder in MAY_IMPORT for path in sources(folder)]
IDS = [str(path.relative_to(ROOT)) for path in SOURCES]


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module and whether importing ``path`` loads it (not in a function, not for type checking only)."""

    def walk(node: ast.AST, loads: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, loads) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import; write multigraft.…"
                yield from ((f"{child.module}.{alias.name}", loads) for alias in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from walk(child, False)
            else:
                inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, loads and not inner)

    yield from walk(ast.parse(path.read_text("utf-8")), True)


def package_of(module: str) -> str:
    return next((part for part in module.split(".")[1:2] if part in MAY_IMPORT), "core")


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_imports_follow_the_design(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    is_command = ROOT / "core" / "cli" in path.parents
    for module, loads in imports(path):
        top = module.split(".")[0]
        assert top not in NEVER_IMPORTED, f"{module} runs in an environment of its own or not at all"
        if top == "multigraft":
            package = package_of(module)
            assert package in MAY_IMPORT[folder] or (is_command and not loads), f"{folder} may not import {module}"
        elif loads and top not in sys.stdlib_module_names and top != "multigraft":
            allowed = DEVICE_PACKAGES if folder in DEVICE_SIDE or folder == "firmware_gen" else WORKSTATION_PACKAGES
            is_script = str(path.relative_to(ROOT)) in TORCH_SCRIPTS
            assert top in allowed or is_script, f"import {top} inside the function that needs it"


def module_of(path: Path) -> str:
    name = ".".join(("multigraft", *path.relative_to(ROOT).with_suffix("").parts))
    return name.replace("multigraft.core", "multigraft", 1).removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


def imports_among_ours() -> dict[str, set[str]]:
    """Module to every module of ours that it imports anywhere, in functions and for type checking, too."""
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        named = {name if name in MODULES else name.rpartition(".")[0] for name, _ in imports(path)}
        graph[module] = (named & MODULES.keys()) - {module}
    return graph


def room_of(module: str) -> str:
    """The folder that a module lies in; a module at the root of a package is a room of its own."""
    path = MODULES[module].relative_to(ROOT)
    return str(path.parent if len(path.parts) > 2 or path.name == "__init__.py" else path.with_suffix(""))


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of imports, or nothing."""
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_circle_of_imports_between_files() -> None:
    assert circle(imports_among_ours()) == []


def test_no_circle_of_imports_between_rooms() -> None:
    rooms: dict[str, set[str]] = {}
    for module, others in imports_among_ours().items():
        here = room_of(module)
        rooms.setdefault(here, set()).update(room for other in others if (room := room_of(other)) != here)
    assert circle(rooms) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_room_is_too_full() -> None:
    rooms = collections.Counter(str(p.parent.relative_to(ROOT)) for p in SOURCES if p.name != "__init__.py")
    assert {room: count for room, count in rooms.items() if count > MOST_IN_A_ROOM} == {}


def test_importing_the_device_side_loads_no_workstation_package() -> None:
    modules = [module_of(path) for folder in DEVICE_SIDE for path in sources(folder)]
    program = (
        f"import importlib, json, sys\n"
        f"for name in {[m for m in modules if not m.endswith('__main__')]!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    heavy = {"onnx", "onnxruntime", "torch", "scipy", "matplotlib", "rich", "PIL", "cv2", "pandas", "litert_quantizer"}
    assert not heavy & set(json.loads(loaded)) - NEVER_IMPORTED


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_module(command: str) -> None:
    module = importlib.import_module(module_of_command(command))
    assert callable(module.add_arguments)
    assert callable(module.execute)


def test_setup_lists_every_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["packages"].split()
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}
    expected = {("multigraft." + name + ".").replace(".core.", ".").strip(".") for name in found}
    assert sorted(listed) == sorted(expected)
    assert all((path.parent / "__init__.py").exists() for path in SOURCES)


def test_no_file_is_too_long() -> None:
    in_c = [path for path in tracked_files() if path.suffix in (".c", ".h")]
    files = [*SOURCES, *sources("tests"), *sources("docs"), *in_c]
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in files}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_path_or_host_of_one_machine_is_written_down() -> None:
    machine = re.compile(r"(?<![\w.~}/-])/(work|root|home|tmp|opt|mnt)/\w|pypi\.org|pythonhosted\.org|index-" + "url")
    found = []
    for path in tracked_files():
        if path.suffix in SOURCE_SUFFIXES and path.name != "LICENSE":
            lines = path.read_text("utf-8").splitlines()
            found += [f"{path}:{i}: {line}" for i, line in enumerate(lines, 1) if machine.search(line)]
    assert found == []


def tracked_files() -> list[Path]:
    """The files of the checkout, or of the unpacked source archive if there is no git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        top = [*MAY_IMPORT, "tests", "docs"]
        return [path for folder in top for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [ROOT / name for name in listed if name and (ROOT / name).exists()]


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A source archive, the wheel made from it, and the demo's wheel, as a release would."""
    copy = tmp_path_factory.mktemp("source") / "multigraft"
    for path in tracked_files():
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    output = copy.parent / "dist"
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output)]
    for arguments in ([str(copy)], ["--wheel", str(copy / "packaging" / "demo")]):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    demo = next(output.glob("multigraft_demo-*.whl"))
    return next(output.glob("*.tar.gz")), next(output.glob("multigraft-*.whl")), demo


def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


def metadata(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as opened:
        return opened.read(next(n for n in opened.namelist() if n.endswith("METADATA"))).decode()


def test_a_release_holds_what_it_needs(distributions: tuple[Path, Path, Path]) -> None:
    archive, wheel, _ = distributions
    names = members(wheel)
    packaged = {name for name in names if name.startswith("multigraft/")}
    expected = {("multigraft/" + name).replace("multigraft/core/", "multigraft/") for name in IDS}
    assert expected <= packaged
    assert {"multigraft/py.typed", "multigraft/converters/report/report.css"} <= packaged
    assert {Path(n).name for n in names if ".dist-info/licenses/" in n} == {"LICENSE", "NOTICE"}
    assert "License-Expression: Apache-2.0" in metadata(wheel)
    assert "Author: The multigraft authors" in metadata(wheel)
    with tarfile.open(archive) as opened_archive:
        inside = {name.partition("/")[2] for name in opened_archive.getnames()}
    assert {"Makefile", ".ci/run", "CHANGELOG.md", "tests/conftest.py", "docs/settings.md"} <= inside
    assert "packaging/demo/multigraft_demo/networks/digit.onnx" in inside


def test_the_demo_is_a_distribution_of_its_own(distributions: tuple[Path, Path, Path]) -> None:
    _, wheel, demo = distributions
    data = {".npz", ".onnx", ".toml"}
    assert {name for name in members(wheel) if Path(name).suffix in data} == set()
    assert wheel.stat().st_size < LARGEST_WHEEL
    source = ROOT / "packaging" / "demo" / "multigraft_demo"
    kept = {f"multigraft_demo/{path.relative_to(source)}" for path in source.rglob("*") if path.suffix in data}
    assert len(kept) == 13
    assert kept <= members(demo)
    version = re.search(r"^Version: (.*)$", metadata(wheel), re.M)
    assert version is not None
    assert f"Version: {version[1]}\n" in metadata(demo)
    assert f"multigraft-demo=={version[1]}" in metadata(wheel)


def requirements(name: str, found: dict[str, importlib.metadata.Distribution]) -> None:
    """Collect a distribution and everything it needs to be imported, as pip would."""
    from packaging.requirements import Requirement

    if name not in found:
        found[name] = importlib.metadata.distribution(name)
        for text in found[name].requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                requirements(needed.name, found)


@pytest.fixture(scope="session")
def bare(distributions: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the wheel, numpy, ai-edge-litert and their own requirements, nothing else.

    The requirements are links to those of the running environment, so that no network is needed.
    """
    folder = tmp_path_factory.mktemp("bare") / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    done = subprocess.run([*command, str(distributions[1])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    site = next((folder / "lib").glob("python*/site-packages"))
    found: dict[str, importlib.metadata.Distribution] = {}
    for name in ("numpy", "ai-edge-litert"):
        requirements(name, found)
    for distribution in found.values():
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder


def run_bare(bare: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(bare / "bin" / "multigraft"), *arguments]
    return subprocess.run(command, cwd=bare, capture_output=True, text=True, check=False)


def test_the_wheel_runs_with_nothing_but_numpy_and_the_interpreter(bare: Path) -> None:
    done = run_bare(bare, "--help")
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert command in done.stdout


def test_a_device_inspects_and_runs_a_bundle(bare: Path) -> None:
    build_bundle().bundle.write(bare / "home.graft")
    np.save(bare / "frames.npy", np.zeros((3, 28, 28), np.uint8))
    done = run_bare(bare, "inspect", "home.graft", "--json")
    assert done.returncode == 0, done.stderr
    assert [task["name"] for task in json.loads(done.stdout)["tasks"]] == ["garment", "digit"]
    done = run_bare(bare, "run", "home.graft", "--source", "frames.npy", "--tasks", "digit")
    assert done.returncode == 0, done.stderr
    assert [set(json.loads(line)["answers"]) for line in done.stdout.splitlines()] == [{"digit"}] * 3


@pytest.mark.parametrize(
    "arguments",
    ["build settings.toml", "graft settings.toml", "convert a.onnx -o b.graft", "demo", "study settings.toml"],
)
def test_a_workstation_command_on_a_device_names_what_to_install(bare: Path, arguments: str) -> None:
    (bare / "settings.toml").write_text(
        'frames = "."\n[[task]]\nname = "a"\nmodel = "a.onnx"\nkind = "other"\nlabelled = "a.npz"\n'
        "[task.preprocessing]\nsize = [8, 8]\n",
        "utf-8",
    )
    for name in ("a.onnx", "a.npz"):
        (bare / name).write_bytes(b"")
    done = run_bare(bare, *arguments.split())
    assert done.returncode == 2, done.stderr
    assert "multigraft[convert]" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert run_bare(bare, arguments.split()[0], "--help").returncode == 0
