"""Images cut into windows and joined again (MobileViT), through the real onnx2tf."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multigraft.converters.conversion.onnx2tf_environment import Environment
from tests.converters.conversion.through_converter import through_converter
from tests.converters.onnx_builder import OnnxBuilder


def test_pixels_of_windows_are_gathered_as_they_were(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    b = OnnxBuilder(6)
    x = b.conv("stem", b.input("x", 3, 8, 8), 6)
    for name, shape in {"six": [-1, 6, 4, 2, 4, 2], "rows": [-1, 6, 4, 16]}.items():
        b.constant(name, np.array(shape, np.int64))
    apart = b.add("Transpose", "apart", b.add("Reshape", "cut", x, "six"), perm=[0, 1, 3, 5, 2, 4])
    windows = b.add("Reshape", "windows", apart, "rows")
    through_converter(b.model(b.add("Relu", "y", windows)), onnx2tf_environment, tmp_path)


def test_space_to_depth_stays_what_it_is(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    b = OnnxBuilder(6)
    x = b.conv("stem", b.input("x", 3, 8, 8), 6)
    for name, shape in {"six": [-1, 6, 4, 2, 4, 2], "deep": [-1, 24, 4, 4]}.items():
        b.constant(name, np.array(shape, np.int64))
    apart = b.add("Transpose", "apart", b.add("Reshape", "cut", x, "six"), perm=[0, 1, 3, 5, 2, 4])
    model = b.model(b.conv("y", b.add("Reshape", "deeper", apart, "deep", channels=24), 5))
    through_converter(model, onnx2tf_environment, tmp_path)
