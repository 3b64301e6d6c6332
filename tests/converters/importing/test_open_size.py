"""Networks that leave their size open: the one that the file states, one at which they run, or a sentence."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from multigraft.converters.importing.importer import load_network
from multigraft.converters.importing.open_size import stated_size, usual_size
from multigraft.errors import InputError
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.importing.network_builder import NetworkBuilder, saved


def height_of_its_own(shape: tuple[object, ...] = ("n", 3, "height", "width")) -> onnx.ModelProto:
    """As a recogniser of a line of text: its height has to be 48, though the file need not say so."""
    b = NetworkBuilder()
    b.add("Conv", ["image", b.weight("column", 8, 3, 48, 1)], "c")
    b.add("Squeeze", ["c", b.constant("axis", [2])], "letters")
    return b.model("letters", shape=shape)


def anything(shape: tuple[object, ...] = ("n", 3, "height", "width")) -> onnx.ModelProto:
    b = NetworkBuilder()
    b.add("Conv", ["image", b.weight("w", 8, 3, 3, 3), ""], "c", pads=[1, 1, 1, 1], strides=[2, 2])
    return b.model("c", shape=shape)


def test_a_size_at_which_the_network_runs_is_found() -> None:
    assert usual_size(anything()) == (224, 224)
    assert usual_size(height_of_its_own(("n", 3, 48, "width"))) == (48, 224)
    fixed = anything(("n", 3, 24, 24))
    assert usual_size(fixed) is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("[320, 256]", (320, 256)), ("640", (640, 640)), ("[320, 0]", None), ("open", None), ("[" * 9999, None)],
)
def test_the_size_that_the_file_states_comes_first(text: str, size: tuple[int, int] | None) -> None:
    model = anything()
    helper.set_model_props(model, {"imgsz": text})
    assert stated_size(model) == size
    assert usual_size(model) == (size or (224, 224))


def test_a_size_at_which_it_does_not_run_is_answered_with_one_at_which_it_does(tmp_path: Path) -> None:
    path = saved(height_of_its_own(), tmp_path)
    wrong = Preprocessing(224, 224, "rgb", (0.0,) * 3, (1 / 255,) * 3)
    with pytest.raises(InputError, match=r"at 224 x 224 pixels\).*give size = \[48, 320\]"):
        load_network(path, preprocessing=wrong)
    right = Preprocessing(48, 64, "rgb", (0.0,) * 3, (1 / 255,) * 3)
    assert load_network(path, preprocessing=right).input_shape == (3, 48, 64)
