"""Networks of random weights with the outputs of a family, small enough to be built in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from multigraft.cli.main import main
from tests.converters.onnx_builder import OnnxBuilder
from tests.core.answers.families.test_hostile_formats import ALPHABET, KINDS
from tests.core.answers.families.test_recognition import NAMES, OURS, shapes_of

SIDE, CLASSES = 64, 2
FAMILIES: tuple[str, ...] = (*OURS, *KINDS)
FEATURES = 8


def outputs_of(family: str) -> tuple[int, list[tuple[int, ...]], tuple[str, ...]]:
    """Side of the input, shapes and names of the outputs."""
    side, shapes = KINDS.get(family, (SIDE, ()))
    # Poses of one class are people.
    found = list(shapes) or shapes_of(family, SIDE, 1 if family.endswith("-pose") else CLASSES)
    return side, found, NAMES.get(family, tuple(f"output{i}" for i in range(len(found))))


def write_network(path: Path, family: str, seed: int = 0) -> int:
    """A convolution, its mean over the picture, and a linear layer per output; returns the side of the input."""
    side, shapes, names = outputs_of(family)
    b = OnnxBuilder(seed)
    x = b.conv_relu("stem", b.input("x", 3, side, side), FEATURES, stride=2)
    flat = b.add("Flatten", "flat", b.add("GlobalAveragePool", "pool", x), axis=1)
    for name, shape in zip(names, shapes, strict=True):
        count = int(np.prod(shape, initial=1))
        weights = (b.rng.standard_normal((FEATURES, count)) * 2).astype(np.float32)
        b.constant(f"{name}.w", weights)
        b.constant(f"{name}.b", b.rng.standard_normal(count).astype(np.float32))
        row = b.add("Gemm", f"{name}.row", flat, f"{name}.w", f"{name}.b", channels=count)
        b.constant(f"{name}.shape", np.array([1, *shape], np.int64))
        b.add("Reshape", name, row, f"{name}.shape", channels=count)
    onnx.save(b.model(*names), path)
    return side


def settings(folder: Path, family: str, precision: str = "float32") -> Path:
    """The network, 40 pictures that differ, and the settings; returns the settings."""
    side = write_network(folder / "net.onnx", family)
    random = np.random.default_rng(0)
    np.save(folder / "frames.npy", random.integers(0, 256, (40, side, side, 3), np.uint8))
    labels = f"labels = {list(ALPHABET)}\n" if family == "ctc" else ""
    kind = "detection" if family in OURS else "other"
    path = folder / "multigraft.toml"
    path.write_text(
        f'frames = "frames.npy"\n[budget]\nmin_agreement = 0.5\n[convert]\nprecision = "{precision}"\n[[task]]\n'
        f'name = "task"\nmodel = "net.onnx"\nkind = "{kind}"\n{labels}'
        f'preprocessing = {{ size = [{side}, {side}], color = "rgb" }}\nanswer = {{ format = "{family}" }}\n',
        "utf-8",
    )
    return path


def through(folder: Path) -> None:
    """Build, run and draw what :func:`settings` wrote."""
    bundle = str(folder / "net.graft")
    assert main(["build", str(folder / "multigraft.toml"), "--allow-miss", "-o", bundle]) == 0
    given = ["--source", str(folder / "frames.npy"), "--frames", "3", "--draw", str(folder / "drawn")]
    assert main(["run", bundle, *given]) == 0
