"""What a server loads computes the rest of the network that the bundle was made of, from what a device sends."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import Network
from multigraft.converters.offload.decoding import Wire, decoding_model
from multigraft.converters.offload.repository import is_of, write_repository
from multigraft.converters.offload.tail import make_tail
from multigraft.converters.standing import alone
from multigraft.errors import InputError, UsageError
from multigraft.runtime import Engine
from multigraft.runtime.offload.codec import BITS, Codec
from multigraft.runtime.offload.wire import model_name, wire_tensors
from multigraft.tensors.arrays import Array
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tensors.quantisation import quantise
from multigraft.tensors.specs import TensorSpec
from tests.converters.offload.small_network import CUT, SIZE, frames, made, network
from tests.runtime.offload.oip_server import Models, oip_server


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[MultiTaskModel, Bundle]:
    return made(tmp_path_factory.mktemp("converted"))


@pytest.fixture(scope="module")
def float_model(made_once: tuple[MultiTaskModel, Bundle]) -> MultiTaskModel:
    return made_once[0]


@pytest.fixture(scope="module")
def bundle(made_once: tuple[MultiTaskModel, Bundle]) -> Bundle:
    return made_once[1]


def served(model: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((1, 7, 5, 12), (0, 3, 1, 2)), ((1, 60), (0, 1)), ((1, 9, 4), (0, 2, 1)), ((1, 9, 4), (0, 1, 2))],
)
def test_the_decoder_reads_every_number_of_bits_exactly(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    spec = TensorSpec("a/b", shape, "int8", 0.05, -128)
    values = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    session, codec = served(decoding_model(Wire(spec, axes), "values", 13)), Codec.from_samples(spec, values)
    for bits in BITS:
        packet = codec.packet(values, bits)
        (decoded,) = session.run(None, wire_tensors(packet))
        np.testing.assert_array_equal(decoded, packet.values().transpose(axes))


@pytest.mark.parametrize("cut", [CUT, "digit/image"])
def test_device_and_server_together_answer_as_the_float_network(
    bundle: Bundle, float_model: MultiTaskModel, cut: str
) -> None:
    tail = make_tail(bundle, float_model, "digit", cut)
    assert tail.cut == cut
    session, engine = served(tail.model), Engine(bundle)
    spec = bundle.manifest.tensor(cut)
    whole = network()
    for frame in frames()[:4]:
        x = whole.prepare([frame])
        stored = engine.compute({"digit/image": _stored(bundle, x)})
        sent = stored.get(cut, _stored(bundle, x))
        answers = session.run(None, wire_tensors(Codec.from_samples(spec, sent).packet(sent, 8)))
        for name, answer in zip(bundle.manifest.task("digit").outputs, answers, strict=True):
            expected = whole.run(x)[name]
            if expected.ndim == 4:
                expected = expected.transpose(0, 2, 3, 1)
            assert answer.shape == bundle.manifest.tensor(name).shape
            assert np.abs(answer - expected).max() < 0.03 * np.ptp(expected)


def _stored(bundle: Bundle, x: Array) -> Array:
    return quantise(x.transpose(0, 2, 3, 1), bundle.manifest.tensor("digit/image"))


def test_the_last_cut_point_is_taken_where_none_is_named(bundle: Bundle, float_model: MultiTaskModel) -> None:
    assert make_tail(bundle, float_model, "digit").cut == CUT


def test_another_network_is_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="does not compute what the bundle does"):
        make_tail(bundle, alone(network(seed=9)), "digit", CUT)


@pytest.mark.parametrize("factor", [0.25, 255.0])
def test_a_network_whose_pictures_are_prepared_otherwise_is_refused(
    bundle: Bundle, float_model: MultiTaskModel, factor: float
) -> None:
    # Its values correlate with the bundle's, and its scores are others.
    other = onnx.ModelProto()
    other.CopyFrom(float_model.model)
    source = other.graph.input[0].name
    for node in other.graph.node:
        node.input[:] = ["scaled" if name == source else name for name in node.input]
    other.graph.initializer.append(onnx.numpy_helper.from_array(np.array(factor, np.float32), "factor"))
    other.graph.node.insert(0, onnx.helper.make_node("Mul", [source, "factor"], ["scaled"]))
    with pytest.raises(InputError, match="does not compute what the bundle does"):
        make_tail(bundle, dataclasses.replace(float_model, model=other), "digit", "digit/image")


def test_a_task_or_cut_that_is_not_there_is_refused(bundle: Bundle, float_model: MultiTaskModel) -> None:
    other = Network("other", network().model, Preprocessing(*SIZE))
    with pytest.raises(InputError, match="no task 'digit'"):
        make_tail(bundle, alone(other), "digit", CUT)
    with pytest.raises(UsageError, match=f"choose from: digit/image, {CUT}"):
        make_tail(bundle, float_model, "digit", "digit/stem")


def test_a_repository_is_written_and_a_device_answers_with_it(
    bundle: Bundle, float_model: MultiTaskModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device, grafted, repository = tmp_path / "home.graft", tmp_path / "home.onnx", tmp_path / "repository"
    bundle.write(device)
    float_model.save(grafted)
    words = ["export-tail", str(device), str(grafted), "-o", str(repository)]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    name = model_name(bundle.manifest, "digit", CUT)
    assert sorted(p.relative_to(repository).as_posix() for p in repository.rglob("*.*")) == [
        f"{name}/1/model.onnx",
        f"{name}/config.pbtxt",
        f"{name}_decode/1/model.onnx",
        f"{name}_decode/config.pbtxt",
    ]
    assert (told["cut"], Path(told["model"])) == (CUT, repository / name)
    config = (repository / name / "config.pbtxt").read_text()
    assert f'{{ name: "{CUT}" data_type: TYPE_UINT8 dims: [ -1 ] }}' in config
    assert '{ name: "digit/map" data_type: TYPE_FP32 dims: [ 1, 6, 6, 12 ] }' in config
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
    with oip_server(models_of(repository)) as server:
        run = ["run", str(device), "--source", "fake:12x12", "--frames", "3", "--offload", server.url]
        assert main([*run, "--offload-deadline", "20000"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["offload"]["digit"]["from"] for line in lines] == ["server"] * 3


def test_a_rest_behind_another_cut_is_written_over(bundle: Bundle, float_model: MultiTaskModel, tmp_path: Path) -> None:
    """All cuts of a task have one name, so that what a build found there may be the rest of an older choice."""
    manifest = bundle.manifest
    older = make_tail(bundle, float_model, "digit", CUT)
    older = dataclasses.replace(older, cut="digit/stem")
    folder, decoder = write_repository(tmp_path, manifest, older)
    assert is_of(folder, manifest, "digit", "digit/stem") and not is_of(folder, manifest, "digit", CUT)
    (folder / "2").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        write_repository(tmp_path, manifest, make_tail(bundle, float_model, "digit", CUT))
    assert write_repository(tmp_path, manifest, make_tail(bundle, float_model, "digit", CUT), anew=True) == [
        folder,
        decoder,
    ]
    assert is_of(folder, manifest, "digit", CUT) and not (folder / "2").exists()
    (folder / "1" / "model.onnx").unlink()
    assert not is_of(folder, manifest, "digit", CUT), "what is not whole is written again"


def models_of(repository: Path) -> Models:
    """The repository's models, as onnxruntime computes them."""
    models = {}
    for folder in repository.iterdir():
        session = ort.InferenceSession(str(folder / "1" / "model.onnx"), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def compute(
            inputs: dict[str, Array], session: ort.InferenceSession = session, names: list[str] = names
        ) -> dict[str, Array]:
            return dict(zip(names, session.run(names, inputs), strict=True))

        models[folder.name] = (tuple(i.name for i in session.get_inputs()), compute)
    return models
