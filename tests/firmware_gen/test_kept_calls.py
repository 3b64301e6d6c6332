"""Compilers keep the call of every kernel: gcc 12 dropped those that only write through pointers into the arena."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.boards.toolchain import APT_PACKAGES
from tests.firmware_gen.models import Builder, activation, ints

GCC = "arm-none-eabi-gcc"
OBJDUMP = "arm-none-eabi-objdump"


def detector() -> bytes:
    """Boxes and scores, each turned to channels first and squashed where they lie, and boxes multiplied."""
    b = Builder(3)
    features = b.conv("features", b.add(activation("in", (1, 8, 8, 1), 0.03, -7)), 8)
    outputs = []
    b.add(ints("order", [0, 3, 1, 2]))
    factor = activation("factor", (), 2.5)
    b.add(type(factor)("factor", (), "int8", factor.quant, np.array(127, np.int8)))
    for name, channels in (("boxes", 4), ("scores", 3)):
        head = b.conv(f"{name}/map", features, channels, kernel=(1, 1), fused="NONE", zero_point=2)
        turned = activation(f"{name}/turned", (1, channels, 8, 8), 0.05, 2)
        b.plain("TRANSPOSE", turned.name, [head, "order"], turned)
        squashed = activation(name, (1, channels, 8, 8), 1 / 256)
        outputs.append(b.plain("LOGISTIC", name, [turned.name], squashed))
    result = activation("times", (1, 4, 8, 8), 2.5)
    outputs[0] = b.plain("MUL", "times", ["boxes", "factor"], result, fused_activation_function="NONE")
    return b.model(["in"], outputs)


@pytest.mark.skipif(
    not (shutil.which(GCC) and shutil.which(OBJDUMP)), reason=f"firmware tools: install {' '.join(APT_PACKAGES)}"
)
@pytest.mark.parametrize("level", ["-O1", "-O2", "-O3", "-Os"])
def test_every_kernel_that_a_step_names_is_called(level: str, tmp_path: Path) -> None:
    project = generate(detector(), core=M3)
    for name, text in project.files.items():
        (tmp_path / name).write_text(text)
    subprocess.run(
        [GCC, "-std=c11", "-mcpu=cortex-m3", level, "-c", "model.c", "-o", "model.o"], cwd=tmp_path, check=True
    )
    listed = subprocess.run(
        [OBJDUMP, "-dr", "model.o"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    run = listed.partition("<model_run>:")[2].partition("\n\n")[0]
    source = project.files["model.c"].partition("int model_run(")[2]
    wanted = re.findall(r"^\s+(\w+_[0-9a-f]{8})\(", source, re.M)
    called = re.findall(r"\b(\w+_[0-9a-f]{8})\b", run)
    assert len(wanted) == len(project.steps) >= 7
    assert sorted(set(wanted)) == sorted(set(called) & set(wanted))
