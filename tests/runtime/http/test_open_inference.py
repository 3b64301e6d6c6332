"""The Open Inference Protocol as Triton's own client speaks it: the engine's numbers, as JSON and as bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from multigraft.runtime import Engine
from tests.bundle_builder import Built, build
from tests.runtime.service.served import Served, serving


@pytest.fixture(scope="module")
def built() -> Built:
    return build()


@pytest.fixture(scope="module")
def served(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    built.bundle.write(folder / "home.graft")
    with serving(folder, str(folder / "home.graft"), "--source", "fake:40x30", "--rate", "50") as service:
        service.until(service.is_well)
        yield service


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    speaker = triton.InferenceServerClient(f"127.0.0.1:{served.port}", connection_timeout=60, network_timeout=60)
    yield speaker
    speaker.close()


def test_server_and_models_tell_what_they_are(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert [model["name"] for model in client.get_model_repository_index()] == ["test", "garment", "digit"]
    assert client.is_model_ready("digit") and client.is_model_ready("digit", "1")
    digit = client.get_model_metadata("digit", "1")
    assert digit["inputs"][0]["datatype"] == "INT8" and digit["inputs"][0]["shape"] == [1, 28, 28, 1]
    assert [output["name"] for output in digit["outputs"]] == ["digit/out"]
    assert json.loads(digit["parameters"]["labels"])[3] == "digit 3"


@pytest.mark.parametrize("sent_as_bytes", [True, False])
@pytest.mark.parametrize("got_as_bytes", [True, False])
def test_a_task_gives_the_engines_numbers(client: Any, built: Built, sent_as_bytes: bool, got_as_bytes: bool) -> None:
    engine = Engine(built.bundle)
    for case in built.inputs:
        given = triton.InferInput("image", list(case.shape), "INT8")
        given.set_data_from_numpy(case, binary_data=sent_as_bytes)
        wanted = [triton.InferRequestedOutput("digit/out", binary_data=got_as_bytes)]
        answer = client.infer("digit", [given], outputs=wanted, request_id="7")
        got = answer.as_numpy("digit/out")
        assert answer.get_response()["id"] == "7"
        expected = engine.compute({"image": case}, ("digit",))["digit/out"]
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("shape", [(28, 28), (120, 90, 3)])
def test_the_bundle_answers_frames_as_the_engine_does(client: Any, built: Built, shape: tuple[int, ...]) -> None:
    frame = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    given = triton.InferInput("frame", list(shape), "UINT8")
    given.set_data_from_numpy(frame)
    answer = client.infer("test", [given])
    result = Engine(built.bundle).run(frame)
    for task in ("garment", "digit"):
        assert json.loads(answer.as_numpy(task)[0]) == result.answers[task].to_json()


def test_only_the_tasks_asked_for_are_answered(client: Any) -> None:
    given = triton.InferInput("frame", [28, 28], "UINT8")
    given.set_data_from_numpy(np.zeros((28, 28), np.uint8))
    answer = client.infer("test", [given], outputs=[triton.InferRequestedOutput("digit", binary_data=False)])
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["digit"]


def test_what_is_wrong_is_said(client: Any) -> None:
    given = triton.InferInput("image", [1, 28, 28, 2], "INT8")
    given.set_data_from_numpy(np.zeros((1, 28, 28, 2), np.int8))
    with pytest.raises(InferenceServerException, match=r"has to be INT8 of shape \[1, 28, 28, 1\]"):
        client.infer("digit", [given])
    with pytest.raises(InferenceServerException, match="there is no model 'dog'; choose from: test, garment, digit"):
        client.get_model_metadata("dog")
    with pytest.raises(InferenceServerException, match="there is version 1 of every model"):
        client.get_model_metadata("digit", "2")


def inputs(**changes: Any) -> dict[str, Any]:
    return {"name": "image", "shape": [1, 28, 28, 1], "datatype": "INT8", "data": [0] * 784, **changes}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"3", "the body is no JSON object"),
        ({}, "there are no inputs"),
        ({"inputs": [3]}, "an input has no name"),
        ({"inputs": [inputs(name="sound")]}, "there is no input 'sound'; choose from: image"),
        ({"inputs": [inputs(shape=[1, 28, 28, -1])]}, "needs a shape of positive whole numbers"),
        ({"inputs": [inputs(shape=[True, 28, 28, 1])]}, "needs a shape of positive whole numbers"),
        ({"inputs": [inputs(datatype="FP32")]}, "has to be INT8"),
        ({"inputs": [inputs(data=[0] * 783)]}, "is not 784 numbers"),
        ({"inputs": [inputs(data=["a"] * 784)]}, "is no array of numbers"),
        ({"inputs": [inputs(data=[0.5] * 784)]}, "does not fit int8"),
        ({"inputs": [inputs(data=[300] * 784)]}, "does not fit int8"),
        ({"inputs": [inputs(data=None)]}, "has no data"),
        ({"inputs": [inputs(data=None, parameters={"binary_data_size": 784})]}, "784 bytes of binary data"),
        ({"inputs": [inputs()], "outputs": [{"name": "cat"}]}, "there is no output 'cat'"),
        ({"inputs": [inputs()], "outputs": 5}, "outputs is no list of objects"),
    ],
)
def test_every_malformed_request_is_refused_with_a_reason(served: Served, body: Any, problem: str) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, _, said = served.ask("/v2/models/digit/infer", "POST", raw)
    assert status == 400
    assert problem in json.loads(said)["error"]


@pytest.mark.parametrize("length", ["-1", "99999", "x", "9" * 40])
def test_a_wrong_length_of_the_json_part_is_refused(served: Served, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    status, _, said = served.ask("/v2/models/digit/infer", "POST", b"{}", headers)
    assert (status, "no length of a part" in said.decode()) == (400, True)


def test_nested_lists_are_taken_as_flat_ones(served: Served, built: Built) -> None:
    raw = json.dumps({"inputs": [inputs(data=built.inputs[0].tolist())]}).encode()
    status, _, said = served.ask("/v2/models/digit/infer", "POST", raw)
    expected = Engine(built.bundle).compute({"image": built.inputs[0]}, ("digit",))["digit/out"]
    assert status == 200
    assert json.loads(said)["outputs"][0]["data"] == expected.reshape(-1).tolist()
