"""A service whose hard frames go to a server, which comes and goes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.manifest import Manifest
from multigraft.cli.main import main
from multigraft.runtime import Engine
from multigraft.runtime.offload.exchange import Exchange
from multigraft.runtime.offload.inference_client import InferenceClient
from multigraft.runtime.offload.offloading import Offloading
from multigraft.runtime.offload.server_address import ServerAddress
from multigraft.runtime.offload.wire import model_name
from multigraft.runtime.service.journal import Journal
from multigraft.runtime.service.offloaded import Offloaded
from multigraft.tensors.arrays import Array
from tests.bundle_builder import build
from tests.runtime.offload.oip_server import Models, oip_server
from tests.runtime.service.served import serving

CUT = "trunk/conv2"


def models(manifest: Manifest) -> Models:
    """Answers of class 7."""

    def compute(inputs: dict[str, Array]) -> dict[str, Array]:
        return {"digit/out": np.eye(10, dtype=np.float32)[None, 7]}

    names = (CUT, f"{CUT}:bits", f"{CUT}:low", f"{CUT}:step")
    return {model_name(manifest, "digit", CUT): (names, compute)}


def test_a_server_that_goes_and_comes_back(tmp_path: Path) -> None:
    bundle = build().bundle
    bundle.write(tmp_path / "home.graft")
    words = (str(tmp_path / "home.graft"), "--source", "fake:28x28,grey", "--tasks", "digit", "--rate", "50")
    with (
        oip_server(models(bundle.manifest)) as first,
        serving(tmp_path, *words, "--offload", first.url, "--offload-deadline", "15000") as served,
    ):
        served.until(served.is_well)
        served.until(lambda: served.json("/live/state")["offload"]["ends"]["server"] > 0)
        assert served.json("/live/state")["words"]["digit"] == "digit 7 1.00"
        first.kill()
        served.until(lambda: "local answers stand" in served.log.read_text())
        served.until(lambda: served.json("/live/state")["offload"]["ends"]["failed"] > 0)
        assert "offload_up 0.0" in served.ask("/metrics")[2].decode()
        with oip_server(models(bundle.manifest), first.port):
            served.until(lambda: served.log.read_text().count("the server answers hard frames") == 2)
            # What HTTP tells is a moment behind the log.
            served.until(lambda: served.is_well() and "offload_up 1.0" in served.ask("/metrics")[2].decode())


def test_a_server_that_was_not_asked_yet_is_not_said_to_be_gone() -> None:
    engine, frame = Engine(build().bundle), np.zeros((28, 28), np.uint8)
    client = InferenceClient(Exchange(ServerAddress.parse("http://127.0.0.1:9")))
    offloaded = Offloaded(Offloading(engine, ("digit",), client, 0.5, below=0.0), Journal({}, environment={}))
    assert offloaded.to_json()["up"] is None
    offloaded.improve({"digit": frame}, engine.run(frame, ("digit",)), time.monotonic())
    assert offloaded.to_json() == {"up": None, "ends": {"server": 0, "local": 1, "failed": 0}, "bytes": 0}


def test_what_cannot_be_served_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(build().bundle.write(tmp_path / "home.graft"))
    for words, said in (
        (["--offload-bits", "4"], "options of offloading without a server"),
        (["--offload", "http://127.0.0.1:9", "--rate", "digit=5"], "give one rate for all"),
        (["--offload", "http://127.0.0.1:9", "--offload-deadline", "15001"], "give 15000 milliseconds at most"),
        (["--offload", "nowhere"], "is no address of a server"),
    ):
        assert main(["serve", path, "--state", str(tmp_path), "--listen", "none", *words]) == 78
        assert said in capsys.readouterr().err


def test_the_unit_has_the_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("x" * 20)
    secret = ["--offload-token-file", str(tmp_path / "token"), "--offload-deadline", "250", "--offload-bits", "4"]
    assert main(["service", "install", "--print", "--offload", "https://cloud.example", *secret]) == 0
    unit = capsys.readouterr().out
    assert "--offload https://cloud.example --offload-deadline 250 --offload-bits 4" in unit
    assert f"LoadCredential=offload-token:{tmp_path / 'token'}" in unit
