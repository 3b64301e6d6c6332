"""The build cuts where a server answers soonest, if together they agree, and the bundle says so to the device."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multigraft.bundle.bundle import Bundle
from multigraft.bundle.manifest import Manifest
from multigraft.bundle.offload_choice import OffloadChoice
from multigraft.cli.main import main
from multigraft.converters.offload import server_time
from multigraft.converters.offload.choosing import LEAST_GAIN, choose
from multigraft.converters.offload.tail import make_tail
from multigraft.errors import BundleError
from multigraft.runtime import Engine
from multigraft.runtime.offload.cuts import cuts_of
from multigraft.runtime.offload.exchange import Exchange
from multigraft.runtime.offload.inference_client import InferenceClient
from multigraft.runtime.offload.remote_task import RemoteTask
from multigraft.runtime.offload.server_address import ServerAddress
from multigraft.runtime.offload.split_choice import Split
from multigraft.runtime.offload.wire import model_name, wire_tensors
from multigraft.tensors.arrays import Array
from tests.converters.graft.networks import residual_network
from tests.converters.offload.small_network import CUT, made
from tests.core.cli.build_project import write_project
from tests.runtime.offload.oip_server import Model, oip_server

LINK = "1gbit,1us"


def split(total_us: float, local_us: float, agreement: float) -> tuple[Split, float]:
    return Split("a", 4, 10.0, total_us / 2, total_us / 2, local_us, 0.0, 0.0, 0.0), agreement


@given(
    st.lists(st.tuples(st.floats(1, 1e6), st.floats(0, 1)), max_size=8),
    st.floats(1, 1e6),
    st.floats(0.1, 0.99),
)
def test_nothing_that_agrees_would_answer_well_before(
    tried: list[tuple[float, float]], local_us: float, least: float
) -> None:
    pairs = [split(total, local_us, agreement) for total, agreement in sorted(tried)]
    agreements = {id(one): agreement for one, agreement in pairs}
    splits = [one for one, _ in pairs]
    choice, _ = choose(splits, LINK, least, lambda one: (agreements[id(one)], 100))
    enough_us = (1 - LEAST_GAIN) * local_us
    good = [one.total_us for one, agreement in pairs if agreement >= least and one.total_us <= enough_us]
    assert choice.is_local == (not good)
    assert choice.total_us == min(good, default=local_us if splits else 0.0)
    choice.check("task")


def loaded(content: bytes) -> Model:
    """As Triton's ONNX Runtime backend serves it."""
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]

    def compute(inputs: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(names, session.run(names, inputs), strict=True))

    return tuple(i.name for i in session.get_inputs()), compute


def test_a_build_measures_every_cut_and_the_bundle_carries_the_choice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = write_project(tmp_path, residual_network("pair", 1))
    with oip_server({}) as server:
        server.loads = loaded
        words = ["build", str(settings), "--json", "--allow-miss", "-o", "pair.graft", "--repository", "served"]
        assert main([*words, "--split", "auto", "--link", LINK, "--offload", server.url]) == 0
        assert not server.models, "what was tried is to be forgotten"
    told: dict[str, Any] = json.loads(capsys.readouterr().out)["offload"]["pair"]
    assert told["server_measured"] == "there"
    bundle = Bundle.open("pair.graft")
    choice = bundle.manifest.task("pair").offload
    assert choice is not None and vars(choice) == told["choice"]
    cuts = {one["cut"] for one in told["splits"]}
    assert len(cuts) > 2
    bad = {(one["cut"], one["bits"]) for one in told["rejected"]}
    good = [one["total_us"] for one in told["splits"] if (one["cut"], one["bits"]) not in bad]
    soonest = min(good)
    assert choice.total_us == (soonest if soonest <= (1 - LEAST_GAIN) * choice.local_us else choice.local_us)
    assert (tmp_path / "served").exists() != choice.is_local
    if not choice.is_local:
        assert choice.cut in cuts_of(bundle.manifest, "pair")
        assert (tmp_path / "served" / model_name(bundle.manifest, "pair", choice.cut)).is_dir()


def test_where_the_server_fails_midway_all_rests_are_timed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, bundle = made(tmp_path)
    engine = Engine(bundle)
    frame = np.zeros((12, 12, 3), np.uint8)
    engine.run(frame, ("digit",))
    rests = {
        cut: (make_tail(bundle, network, "digit", cut), wire_tensors(RemoteTask(engine, "digit", cut).packet(frame, 8)))
        for cut in cuts_of(bundle.manifest, "digit")
    }
    models: list[Model] = []

    def first_alone(content: bytes) -> Model:
        models.append(loaded(content))
        return models[0] if len(models) == 1 else (models[-1][0], lambda inputs: {})

    monkeypatch.setattr(server_time, "_here", lambda *rest: -1.0)
    with oip_server({}) as server:
        server.loads = first_alone
        timing = server_time.ServerTime(InferenceClient(Exchange(ServerAddress.parse(server.url))), lambda line: None)
        assert timing.seconds(rests) == dict.fromkeys(rests, -1.0) and len(rests) > 1
    assert not timing.is_measured_there and len(models) == 2


def test_options_that_contradict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = str(write_project(tmp_path, residual_network("pair", 1)))
    for words, said in (
        (["--link", "5mbit"], "--link is of --split auto"),
        (["--split", "auto"], "link"),
        (["--split", "auto", "--link", "fast"], "is no link"),
    ):
        assert main(["build", settings, *words]) in (2, 78)
        assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def cut_bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Bundle]:
    return made(tmp_path_factory.mktemp("converted"))


def chosen(bundle: Bundle, choice: OffloadChoice) -> Bundle:
    return bundle.with_tasks(dataclasses.replace(task, offload=choice) for task in bundle.manifest.tasks)


def test_what_is_served_is_what_the_build_chose(cut_bundle: tuple[Any, Bundle]) -> None:
    network, bundle = cut_bundle
    assert make_tail(bundle, network, "digit").cut == CUT
    other = chosen(bundle, OffloadChoice("digit/image", 6, LINK, 1.0, 2.0, 0.9, 10))
    assert Manifest.from_json(other.manifest.to_json()) == other.manifest
    assert make_tail(other, network, "digit").cut == "digit/image"


@pytest.mark.parametrize("change", [{"bits": 9}, {"bits": 0}, {"cut": "no/such"}, {"total_us": -1.0}])
def test_a_choice_that_makes_no_sense_is_refused(cut_bundle: tuple[Any, Bundle], change: dict[str, Any]) -> None:
    choice = dataclasses.replace(OffloadChoice(CUT, 4, LINK, 1.0, 2.0), **change)
    data = chosen(cut_bundle[1], choice).manifest.to_json()
    with pytest.raises(BundleError, match="is damaged"):
        Manifest.from_json(data)


def test_inspect_says_it(cut_bundle: tuple[Any, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for choice, said in (
        (OffloadChoice(CUT, 4, LINK, 1.0, 2.0, 0.5, 10), CUT),
        (OffloadChoice("", 0, LINK, 2, 2), "stays"),
    ):
        path = chosen(cut_bundle[1], choice).write(tmp_path / "home.graft")
        assert main(["inspect", str(path)]) == 0
        out = capsys.readouterr().out
        assert "What a server is sent" in out and said in out and LINK in out
