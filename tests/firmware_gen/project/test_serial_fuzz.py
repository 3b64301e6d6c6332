"""The target's parsers on the host, with sanitizers, against a great many random inputs; and against Python's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.learning.last_layer import Learning
from multigraft.firmware_gen.project.folder import write_folder
from tests.firmware_gen import tiny_model
from tests.firmware_gen.host import gcc
from tests.firmware_gen.mlperf_shapes import autoencoder
from tests.firmware_gen.models import Builder, activation

HERE = Path(__file__).parent
SANITIZED = (
    *("-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wno-sign-conversion"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)
INPUTS = int(os.environ.get("MULTIGRAFT_FUZZ_INPUTS", "100000"))
"""A million take half a minute."""


def compiled(folder: Path, *arguments: str) -> Path:
    if not (folder / "src").exists():
        tiny_model.write_project(BOARDS["mps2-an385"], folder)
    return gcc(folder, folder / "fuzz", *SANITIZED, f"-I{folder}/target", f"-I{folder}/src", *arguments)


def run(program: Path) -> str:
    done = subprocess.run([str(program), str(INPUTS)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_frame_parser_survives_and_finds_every_whole_frame(tmp_path: Path) -> None:
    said = run(compiled(tmp_path, str(HERE / "fuzz_frames.c"), "target/frames.c"))
    assert int(said.split()[0]) > INPUTS // 3


def dense_model() -> bytes:
    b = Builder(2)
    b.add(activation("features", (1, 6)))
    return b.model(["features"], [b.dense("logits", "features", 3)])


@pytest.mark.parametrize("protocol", ["frames", "frames that learn", "frames that update", "mlperf", "mlperf ad01"])
def test_a_serial_application_survives_any_request(protocol: str, tmp_path: Path) -> None:
    protocol, _, network = protocol.partition(" ")
    sources: tuple[str, ...] = (
        "target/app.c",
        f"target/app_{protocol}.c",
        "target/app_model.c",
        "target/frames.c",
        "src/model.c",
    )
    flags: tuple[str, ...] = (
        ("-Dmain=device_main",) if protocol == "frames" else ("-Dmain=device_main", "-DFUZZ_MLPERF")
    )
    if network == "that learn":
        learning = Learning("", 5)
        project = generate(dense_model(), core=CORES["m3"], learn=learning)
        write_folder(project, BOARDS["mps2-an385"], "ab" * 32, tmp_path)
    elif network == "that update":
        tiny_model.write_project(BOARDS["netduinoplus2-slots"], tmp_path)
        flags += ("-DFUZZ_UPDATE",)
        sources = (*sources, "target/update.c", "target/slots.c")
    elif network:
        flags += (f"-DAPP_MLPERF_{network}",)
        write_folder(generate(autoencoder(16, 8, 4), core=CORES["m3"]), BOARDS["mps2-an385"], "ab" * 32, tmp_path)
    objects = []
    for source in sources:
        name = Path(source).stem + ".o"
        compiled(tmp_path, "-c", *flags, source).rename(tmp_path / name)
        objects.append(name)
    said = run(compiled(tmp_path, *flags[1:], str(HERE / "fuzz_app.c"), *objects))
    assert int(said.split()[0]) > INPUTS
