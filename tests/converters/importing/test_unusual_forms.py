"""Files in unusual forms, read: each computes what it did, and what is left out or refused is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from multigraft.converters.importing.importer import load_network
from multigraft.converters.network.network import Network
from multigraft.errors import InputError, UnsupportedOperatorError
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.importing import unusual_forms as forms
from tests.converters.importing.network_builder import answers, saved

FRAME = np.random.default_rng(5).random((1, 3, forms.SIZE, forms.SIZE), dtype=np.float32)
PICTURE = Preprocessing(forms.SIZE, forms.SIZE, "rgb", (0.0,) * 3, (1 / 255,) * 3)


def read(model: onnx.ModelProto, folder: Path) -> tuple[Network, list[str]]:
    notes: list[str] = []
    return load_network(saved(model, folder), preprocessing=PICTURE, report=notes.append), notes


@pytest.mark.parametrize("make", [f for f in forms.FORMS if f not in (forms.unused_input, forms.duplicate_node_names)])
def test_it_computes_what_it_did(make: Callable[[int], onnx.ModelProto], tmp_path: Path) -> None:
    model = make(1)
    batch = 4 if make is forms.fixed_batch else 1
    if make is forms.initialisers_as_inputs:
        stored = {i.name for i in model.graph.initializer}
        image = next(i for i in model.graph.input if i.name not in stored)
        expected = answers_of(model, image.name)
    else:
        expected = answers(model, FRAME.repeat(batch, 0))[0][:1]
    network, _ = read(model, tmp_path)
    (value,) = network.run(FRAME).values()
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def answers_of(model: onnx.ModelProto, image: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """What onnxruntime says where the image is not the first input."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    value: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = session.run(None, {image: FRAME})[0]
    return value


@pytest.mark.parametrize("make", [forms.unused_input, forms.duplicate_node_names])
def test_what_onnxruntime_or_a_frame_cannot_serve_is_left_out(
    make: Callable[[int], onnx.ModelProto], tmp_path: Path
) -> None:
    network, notes = read(make(1), tmp_path)
    np.testing.assert_allclose(
        next(iter(network.run(FRAME).values())), answers(forms.plain(1), FRAME)[0], rtol=1e-4, atol=1e-5
    )
    told = ["note: nothing in network.onnx reads its input image_size, which is left out"]
    assert notes == (told if make is forms.unused_input else [])


def test_outputs_that_are_stored_are_left_out_and_named(tmp_path: Path) -> None:
    network, notes = read(forms.initialiser_as_output(1), tmp_path)
    assert len(network.outputs) == 1
    assert [note.split()[2] for note in notes] == ["a.w", "answer.b"]


def test_a_second_input_that_is_read_is_refused_by_name(tmp_path: Path) -> None:
    model = forms.unused_input(1)
    model.graph.node.append(onnx.helper.make_node("Cast", ["image_size"], ["size"], to=1))
    model.graph.output.append(onnx.helper.make_tensor_value_info("size", 1, None))
    with pytest.raises(InputError, match=r"2 inputs \(image, image_size\)"):
        read(model, tmp_path)


def test_a_loop_of_a_constant_number_of_steps_is_written_out(tmp_path: Path) -> None:
    model = forms.constant_loop(1)
    network, _ = read(model, tmp_path)
    assert [n.op_type for n in network.model.graph.node].count("Tanh") == 3
    got = next(iter(network.run(FRAME).values()))
    np.testing.assert_allclose(got, answers(model, FRAME)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_loops_may_hold_loops_and_choices(tmp_path: Path, steps: int) -> None:
    model = forms.loop_of_choices(1, steps)
    network, _ = read(model, tmp_path)
    assert not {"Loop", "If", "Compress"} & {n.op_type for n in network.model.graph.node}
    got = next(iter(network.run(FRAME).values()))
    np.testing.assert_allclose(got, answers(model, FRAME)[0], rtol=1e-4, atol=1e-5)


def test_a_loop_that_depends_on_the_frame_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError, match="Loop 'node_looped' is control flow that depends on the frame"):
        read(forms.loop_until_dark(1), tmp_path)


def test_a_loop_of_too_many_steps_is_refused_by_name(tmp_path: Path) -> None:
    model = forms.constant_loop(1)
    for stored in model.graph.initializer:
        if stored.name == "rounds":
            stored.CopyFrom(onnx.numpy_helper.from_array(np.array(5000, np.int64), "rounds"))
    with pytest.raises(UnsupportedOperatorError, match=r"Loop 'node_looped' is control flow .* or repeats too much"):
        read(model, tmp_path)
