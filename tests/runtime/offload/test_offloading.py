"""Every frame has one answer in its deadline, whatever becomes of the server, and says where it comes from."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.answers.crops import On
from multigraft.bundle.offload_choice import OffloadChoice
from multigraft.cli.main import main
from multigraft.errors import UsageError
from multigraft.runtime import Engine
from multigraft.runtime.answers import Classification
from multigraft.runtime.offload.bit_packing import unpack_bits
from multigraft.runtime.offload.circuit_breaker import CircuitBreaker
from multigraft.runtime.offload.cuts import check_cut, cuts_of
from multigraft.runtime.offload.exchange import Exchange
from multigraft.runtime.offload.inference_client import InferenceClient
from multigraft.runtime.offload.offloading import Offloading
from multigraft.runtime.offload.quantiser import real_values
from multigraft.runtime.offload.server_address import ServerAddress
from multigraft.runtime.offload.wire import model_name, model_names
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import Frame
from multigraft.tensors.quantisation import dequantise
from tests import exit_bundle
from tests.box_bundle import box_bundle, bright_frames
from tests.bundle_builder import Built, build
from tests.runtime.offload.oip_server import Models, OipServer, oip_server

CUT = "trunk/conv2"
DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def built() -> Built:
    return build()


@pytest.fixture(scope="module")
def engine(built: Built) -> Engine:
    return Engine(built.bundle)


def frames(count: int) -> list[Frame]:
    random = np.random.default_rng(5)
    return [random.integers(0, 256, (28, 28), np.uint8) for _ in range(count)]


def read(inputs: dict[str, Array], cut: str, shape: tuple[int, ...]) -> Array:
    """The real values that a request carries."""
    bits = int(inputs[f"{cut}:bits"][0])
    codes = unpack_bits(inputs[cut], bits, int(np.prod(shape)))
    return real_values(codes, shape, inputs[f"{cut}:low"], inputs[f"{cut}:step"])


def models_of(engine: Engine, cut: str = CUT) -> Models:
    """A server whose answer tells which frame it saw: class 7, by as much as the tensor sums up to."""
    shape = engine.manifest.tensor(cut).shape

    def compute(inputs: dict[str, Array]) -> dict[str, Array]:
        outputs = np.zeros((1, 10), np.float32)
        outputs[0, 7] = read(inputs, cut, shape).sum()
        return {"digit/out": outputs}

    names = (cut, f"{cut}:bits", f"{cut}:low", f"{cut}:step")
    return {model_name(engine.manifest, "digit", cut): (names, compute)}


def offloading_to(engine: Engine, url: str, deadline_s: float = DEADLINE_S, **how: Any) -> Offloading:
    client = InferenceClient(Exchange(ServerAddress.parse(url)))
    return Offloading(engine, ["digit"], client, deadline_s, **how)


def improved(engine: Engine, offloading: Offloading, frame: Frame) -> tuple[Any, Any]:
    begun = time.monotonic()
    result = engine.run(frame)
    answers, origins = offloading.improve(dict.fromkeys(result.answers, frame), result.answers, begun)
    assert answers.keys() == result.answers.keys()
    if not origins["digit"].is_remote:
        assert answers == result.answers
    return answers, origins


@pytest.fixture
def server(engine: Engine) -> Iterator[OipServer]:
    with oip_server(models_of(engine)) as one:
        yield one


def test_cut_points_of_a_task(built: Built) -> None:
    assert cuts_of(built.bundle.manifest, "digit") == ("image", CUT)
    with pytest.raises(UsageError, match="choose from: image, trunk/conv2"):
        check_cut(built.bundle.manifest, "digit", "digit/out")


@pytest.mark.parametrize("cut", [CUT, "image"])
@pytest.mark.parametrize("bits", [8, 3])
def test_the_server_sees_what_the_device_computed(engine: Engine, cut: str, bits: int) -> None:
    seen: list[Array] = []
    ((name, (names, compute)),) = models_of(engine, cut).items()

    def noted(inputs: dict[str, Array]) -> dict[str, Array]:
        seen.append(read(inputs, cut, engine.manifest.tensor(cut).shape))
        return compute(inputs)

    models = {name: (names, noted)}
    with oip_server(models) as server:
        offloading = offloading_to(engine, server.url, bits=bits)
        for frame in frames(3):
            answers, origins = improved(engine, offloading, frame)
            assert origins["digit"].to_json().keys() == {"from", "bits", "bytes", "ms"}
            assert (origins["digit"].bits, origins["digit"].is_remote) == (bits, True)
            assert answers["digit"].index == 7
            stored = engine.last_written(cut) if cut == CUT else None
            if stored is not None and bits == 8:
                np.testing.assert_allclose(seen[-1], dequantise(stored, engine.manifest.tensor(cut)), atol=1e-5)
    assert len({float(values.sum()) for values in seen}) == 3


def test_a_bundle_of_another_build_is_not_answered(built: Built) -> None:
    other = build(width=4)
    with oip_server(models_of(Engine(other.bundle))) as server:
        engine = Engine(built.bundle)
        _, origins = improved(engine, offloading_to(engine, server.url), frames(1)[0])
    assert "has no model" in origins["digit"].why


def test_a_model_that_reads_no_tensor_of_the_bundle_is_not_asked(engine: Engine) -> None:
    models = {name: (("secret",), compute) for name, (_, compute) in models_of(engine).items()}
    with oip_server(models) as server:
        _, origins = improved(engine, offloading_to(engine, server.url), frames(1)[0])
    assert "reads no tensor" in origins["digit"].why


def test_a_rest_that_was_exported_anew_for_another_cut_is_looked_up_again(engine: Engine) -> None:
    server = OipServer(models_of(engine, "image"))
    offloading = offloading_to(engine, server.url)
    first, second, third = frames(3)
    assert improved(engine, offloading, first)[1]["digit"].is_remote
    server.models, server.refusal = dict(models_of(engine, CUT)), 400
    assert not improved(engine, offloading, second)[1]["digit"].is_remote
    server.refusal = 0
    assert improved(engine, offloading, third)[1]["digit"].is_remote
    server.kill()


def test_only_unsure_answers_go_to_the_server(engine: Engine, server: OipServer) -> None:
    scores = []
    for frame in frames(6):
        digit = engine.run(frame).answers["digit"]
        assert isinstance(digit, Classification)
        scores.append(digit.score)
    limit = sorted(scores)[3]
    offloading = offloading_to(engine, server.url, below=limit)
    remote = [improved(engine, offloading, frame)[1]["digit"].is_remote for frame in frames(6)]
    assert remote == [score < limit for score in scores]
    assert offloading.ends == {"server": 3, "sure enough": 3}


def test_a_frame_that_left_early_stays_local(server: OipServer) -> None:
    # Tensors behind the exit are those of a frame before.
    engine = Engine(exit_bundle.build(exit_bundle.policy(0.0), ("garment",)))
    client = InferenceClient(Exchange(ServerAddress.parse(server.url)))
    offloading = Offloading(engine, ["garment"], client, DEADLINE_S)
    result = engine.run(frames(1)[0])
    answers, origins = offloading.improve({"garment": frames(1)[0]}, result.answers, 0.0, result.exits)
    assert answers == result.answers
    assert origins["garment"].to_json() == {"from": "local", "why": "early exit"}
    assert not server.seen


@pytest.mark.parametrize("is_shared", [False, True])
def test_boxes_that_others_look_at_stay_those_they_looked_at(server: OipServer, is_shared: bool) -> None:
    bundle = box_bundle()
    line, kind = bundle.manifest.tasks
    engine = Engine(bundle.with_tasks((line, dataclasses.replace(kind, on=On("line")))), self_test=False)
    client = InferenceClient(Exchange(ServerAddress.parse(server.url)))
    frame = bright_frames(30)[0]
    result = engine.run(frame, None if is_shared else ("line",))
    offloading = Offloading(engine, ["line"], client, DEADLINE_S)
    answers, origins = offloading.improve(dict.fromkeys(result.answers, frame), result.answers, time.monotonic())
    assert answers == result.answers
    assert ("box" in origins["line"].why, bool(server.seen)) == (is_shared, not is_shared)


def test_a_server_may_hold_both_models_of_a_task(built: Built) -> None:
    engine = Engine(built.bundle)
    frame = frames(1)[0]
    local = engine.run(frame).answers
    source = engine.manifest.inputs_of("digit")[0].tensor
    behind, whole = models_of(engine), models_of(engine, source)
    for held, sends, model in (
        ({**behind, **whole}, "any", behind),
        ({**behind, **whole}, "cut", behind),
        ({**behind, **whole}, "input", whole),
        (whole, "any", whole),
        (whole, "cut", None),
        (behind, "input", None),
    ):
        with oip_server(held) as server:
            _, origins = offloading_to(engine, server.url, sends=sends).improve(
                {"digit": frame}, local, time.monotonic()
            )
            asked = {path.split("/")[3] for method, path, _ in server.seen if method == "POST"}
        assert asked == set(model or ())
        assert origins["digit"].is_remote is (model is not None)
        assert ("has no model" in origins["digit"].why) is (model is None)


def test_no_two_tasks_have_one_name_on_a_server(built: Built) -> None:
    manifest = built.bundle.manifest
    long = dataclasses.replace(manifest, name="n" * 60)
    names = [name for task in ("a_b", "a-b", "a b", "../a/b", "数字", "文字") for name in model_names(manifest, task)]
    names += [name for task in ("digit", "garment") for name in model_names(long, task)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[A-Za-z0-9_]{12,96}", name) for name in names)


def test_a_token_that_others_can_read_is_told(
    built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str], server: OipServer
) -> None:
    path = built.bundle.write(tmp_path / "home.graft")
    (tmp_path / "token").write_text("secret")
    words = ["run", str(path), "--source", "fake:28x28", "--frames", "1", "--offload-deadline", "100"]
    for url, is_told in ((server.url, False), ("http://nobody.invalid", True)):
        assert main([*words, "--offload", url, "--offload-token-file", str(tmp_path / "token")]) == 0
        out, err = capsys.readouterr()
        assert ("without encryption" in err) == is_told
        assert "secret" not in out + err


def test_a_server_that_dies_and_returns(engine: Engine) -> None:
    clock = [0.0]
    server = OipServer(models_of(engine))
    offloading = offloading_to(engine, server.url, breaker=lambda: CircuitBreaker(now=lambda: clock[0]))
    ways = []
    for number, frame in enumerate(frames(60)):
        if number == 10:
            server.kill()
        if number == 25:
            server = OipServer(models_of(engine), server.port)
        ways.append(improved(engine, offloading, frame)[1]["digit"])
        clock[0] += 0.25
    server.kill()
    assert all(way.is_remote for way in ways[:10])
    assert not any(way.is_remote for way in ways[10:25])
    assert ways[-1].is_remote
    assert sum("left alone" in way.why for way in ways) > 8
    assert sum(offloading.ends.values()) == 60


def test_a_slow_server_costs_a_frame_its_deadline_and_bits(engine: Engine, server: OipServer) -> None:
    offloading = offloading_to(engine, server.url)
    first, *others = frames(5)
    assert improved(engine, offloading, first)[1]["digit"].bits == 8
    server.delay_s, offloading.deadline_s = 2.0, 0.3
    late = [improved(engine, offloading, frame)[1]["digit"] for frame in others[:3]]
    assert all("in time" in way.why for way in late)
    assert "left alone" in improved(engine, offloading, others[3])[1]["digit"].why


def test_a_busy_server_is_asked_again(engine: Engine, server: OipServer) -> None:
    server.refusal = 503
    _, origins = improved(engine, offloading_to(engine, server.url), frames(1)[0])
    assert "503" in origins["digit"].why
    assert sum(path.endswith("/infer") for _, path, _ in server.seen) == 3


def test_the_breaker_rests_longer_each_time() -> None:
    clock = [0.0]
    breaker = CircuitBreaker(2, 1.0, 4.0, lambda: clock[0])
    rests: list[float] = []
    for _ in range(5):
        while not breaker.is_open:
            breaker.failed()
        begun = clock[0]
        while breaker.is_open:
            clock[0] += 0.25
        rests.append(clock[0] - begun)
    assert rests == [1, 2, 4, 4, 4]
    breaker.succeeded()
    breaker.failed()
    assert not breaker.is_open


def test_run_says_where_each_answer_comes_from(
    engine: Engine, server: OipServer, built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = built.bundle.write(tmp_path / "home.graft")
    words = ["run", str(path), "--source", "fake:28x28", "--frames", "4", "--offload", server.url]
    assert main([*words, "--offload-deadline", "20000"]) == 0
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3]
    assert all(line["offload"]["digit"]["from"] == "server" for line in lines)
    assert all(line["answers"]["digit"]["index"] == 7 for line in lines)
    # The server has no rest of the other task: it stays local, and says why.
    assert all("no model" in line["offload"]["garment"]["why"] for line in lines[:3])
    assert "4 from the server" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--offload-below", "0.5"], "without a server"),
        (["--offload", "http://a", "--offload-deadline", "0"], "--offload-deadline is 0"),
        (["--offload", "http://a", "--offload-below", "2"], "--offload-below is 2"),
        (["--offload", "http://a", "--offload-bits", "9"], "--offload-bits is 9"),
        (["--offload", "a:80"], "no address of a server"),
    ],
)
def test_wrong_options_are_refused(
    built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    path = built.bundle.write(tmp_path / "home.graft")
    assert main(["run", str(path), "--source", "fake:28x28", "--frames", "1", *words]) == 2
    assert said in capsys.readouterr().err


def chosen_by(built: Built, choice: OffloadChoice) -> Engine:
    tasks = built.bundle.manifest.tasks
    return Engine(built.bundle.with_tasks(dataclasses.replace(t, offload=choice) for t in tasks))


def test_what_travels_is_what_the_build_chose(built: Built) -> None:
    chosen = OffloadChoice("image", 3, "5mbit,20ms", 1.0, 2.0, 0.99, 100)
    engine = chosen_by(built, chosen)
    with oip_server({**models_of(engine, "image"), **models_of(engine)}) as server:
        for sends, cut, bits in (("chosen", "image", 3), ("any", CUT, 8)):
            _, origins = improved(engine, offloading_to(engine, server.url, sends=sends), frames(1)[0])
            assert (origins["digit"].cut, origins["digit"].bits) == (cut, bits)


def test_a_task_that_the_build_keeps_here_is_not_asked_for(built: Built) -> None:
    engine = chosen_by(built, OffloadChoice("", 0, "1kbit", 2.0, 2.0))
    with oip_server(models_of(engine)) as server:
        offloading = offloading_to(engine, server.url, sends="chosen")
        offloading.reach()
        _, origins = improved(engine, offloading, frames(1)[0])
        assert not origins["digit"].is_remote and "found at the build" in origins["digit"].why
        assert not server.seen
