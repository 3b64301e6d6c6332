"""``multigraft serve`` as systemd and a user see it: readiness, watchdog, metrics, faults, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.runtime.backends import load_backend
from multigraft.runtime.deploy import store, trial
from multigraft.runtime.service.serving import digest_of
from multigraft.runtime.tflite_model import TfliteModel
from tests.bundle_builder import build
from tests.runtime.service.served import PATIENCE_S, Served, serving
from tests.runtime.service.soak import grown

OPEN_METRICS = {"accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    build().bundle.write(tmp_path / "home.graft")
    return tmp_path / "home.graft"


@contextlib.contextmanager
def manager(folder: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """A service manager's socket, and what a service is told of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(folder / "notify"))
        listening.settimeout(PATIENCE_S)
        yield listening, {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "400000"}


def _listen(listening: socket.socket, heard: list[str]) -> None:
    while not heard or heard[-1] != "STOPPING=1":
        heard.append(listening.recv(4096).decode())


def test_systemd_hears_of_readiness_life_and_the_end(home: Path, tmp_path: Path) -> None:
    with manager(tmp_path) as (listening, told):
        with serving(tmp_path, str(home), "--source", "fake:", "--rate", "40", environment=told) as served:
            heard: list[str] = []
            reader = threading.Thread(target=_listen, args=(listening, heard))
            reader.start()
            served.until(lambda: heard.count("WATCHDOG=1") >= 4)
            assert heard[0].startswith("READY=1\nSTATUS=")
            served.until(served.is_well)
            assert served.end() == 0
        reader.join()
        assert heard[-1] == "STOPPING=1"
        assert "frames were answered" in served.log.read_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("service")
    build().bundle.write(folder / "home.graft")
    with serving(folder, str(folder / "home.graft"), "--source", "fake:28x28,grey") as served:
        served.until(served.is_well)
        yield served


def test_metrics_are_open_metrics_and_name_what_is_served(service: Served) -> None:
    service.until(lambda: service.json("/live/state")["frames"] >= 20)
    status, headers, text = service.ask("/metrics", headers=OPEN_METRICS)
    assert (status, headers["content-type"].partition(";")[0]) == (200, "application/openmetrics-text")
    parse: Callable[[str], Iterable[Metric]] = text_string_to_metric_families
    families = {family.name: family for family in parse(text.decode())}
    assert families["bundle"].samples[0].labels["sha256"] == digest_of(service.log.parent / "home.graft")
    counts = {
        sample.labels["task"]: sample.value
        for sample in families["inference_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert set(counts) == {"garment", "digit"} and min(counts.values()) >= 20
    assert {"dropped_frames", "energy_joules", "power_watts", "resident_memory_bytes"} <= families.keys()


def test_the_log_says_whether_xnnpack_is_on(service: Served) -> None:
    # tflite-runtime has none for int8.
    is_on = load_backend().name == "litert"
    assert f"XNNPACK is {'on' if is_on else 'off'}" in service.log.read_text()
    model = TfliteModel(build().bundle.model)
    plain = model.without_delegates()
    for one in (model, plain):
        one.subgraph("trunk")
    assert (model.has_delegate(), plain.has_delegate()) == (is_on, False)


def test_an_inference_that_is_asked_for_is_counted(service: Served) -> None:
    body = {"inputs": [{"name": "frame", "shape": [2, 2], "datatype": "UINT8", "data": [1, 2, 3, 4]}]}
    assert service.ask("/v2/models/test/infer", "POST", json.dumps(body).encode())[0] == 200
    # Figures may be a tenth of a second old.
    service.until(lambda: b'inference_requests_total{end="answered"} 1.0' in service.ask("/metrics")[2])


def test_some_thousand_frames_take_no_more_memory_and_descriptors(service: Served) -> None:
    """The short form of ``make soak``."""
    assert grown(service, 4000, settle=1500) == []


def test_http_comes_back_when_its_process_is_killed(service: Served) -> None:
    for child in _children(service):
        os.kill(child, signal.SIGKILL)
    service.until(service.is_well)
    service.until(lambda: service.json("/live/state")["errors"].get("http") == 1)
    assert service.process.poll() is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nothing.graft", "--source", "fake:"), "nothing.graft"),
        (("HOME", "--source", "nonsense"), "nonsense does not exist"),
        (("HOME", "--source", "fake:", "--tasks", "dog"), "has no task 'dog'"),
        (
            ("HOME", "--source", "fake:", "--listen", "127.0.0.1:0", "--token-file", "none.txt"),
            "token file none.txt cannot be read",
        ),
        (
            ("HOME", "--source", "fake:", "--listen", "0.0.0.0:0", "--state", "/proc/none"),
            "token file /proc/none/token cannot be made",
        ),
        (("HOME", "--source", "fake:", "--rate", "0"), "--rate is 0"),
        (("--source", "fake:"), "no bundle is deployed"),
    ],
)
def test_a_wrong_configuration_ends_with_78(
    home: Path, tmp_path: Path, arguments: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spelt = [str(home) if word == "HOME" else word for word in arguments]
    assert main(["serve", "--listen", "none", "--state", str(tmp_path / "state"), *spelt]) == 78
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(("variable", "code"), [("NOTIFY_SOCKET", 78), ("INVOCATION_ID", 78), ("OTHER", 2)])
def test_an_option_that_there_is_not_ends_a_unit_for_good(
    variable: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NOTIFY_SOCKET", "INVOCATION_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "x")
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--sauce", "camera"])
    assert ended.value.code == code
    assert "unrecognized arguments: --sauce" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--help"])
    assert not ended.value.code


def test_frames_that_the_tasks_do_not_take_end_it_with_78(home: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((2, 5), np.float32))
    assert main(["serve", str(home), "--source", str(tmp_path / "rows.npy"), "--listen", "none"]) == 78


def test_a_port_in_use_is_worth_another_try(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert main(["serve", str(home), "--source", "fake:", "--listen", address]) == 2


def test_a_damaged_bundle_gives_way_to_the_one_before(tmp_path: Path) -> None:
    state = tmp_path / "state"
    digests = []
    for number, width in enumerate((8, 12)):
        path = tmp_path / f"{number}.graft"
        build(width=width).bundle.write(path)
        digests.append(digest_of(path))
        trial.switch_to(state, store.put(state, digests[-1], Bundle.open(path)))
    model = store.bundle_folder(state, digests[1]) / "model.tflite"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 0xFF
    model.write_bytes(data)
    with serving(tmp_path, "--source", "fake:", "--rate", "20") as served:
        served.until(served.is_well)
        assert served.json("/live/state")["bundle"]["sha256"] == digests[0]
        assert "is damaged" in served.log.read_text()


def test_a_bundle_that_is_deployed_is_served_from_the_next_start_on(tmp_path: Path) -> None:
    state, path = tmp_path / "state", tmp_path / "first.graft"
    build().bundle.write(path)
    trial.switch_to(state, store.put(state, digest_of(path), Bundle.open(path)))
    with serving(tmp_path, "--source", "fake:", "--rate", "20") as served:
        served.until(served.is_well)
        build(width=12).bundle.write(path)
        trial.switch_to(state, store.put(state, digest_of(path), Bundle.open(path)))
        assert served.process.wait(PATIENCE_S) == 75


def test_an_orderly_end_is_no_failed_start_even_while_it_loads(tmp_path: Path) -> None:
    state, path = tmp_path / "state", tmp_path / "home.graft"
    build().bundle.write(path)
    trial.switch_to(state, store.put(state, digest_of(path), Bundle.open(path)))

    def failed(number: int, is_loading: bool = False) -> bool:
        """Whether a start that is ended by a signal counts: as the next one finds it."""
        with serving(tmp_path, "--source", "fake:", "--rate", "20") as served:
            served.until(lambda: trial.read_trial(state).boot != "" and not trial.read_trial(state).ended)
            if not is_loading:
                served.until(served.is_well)
            assert served.end(number) == (0 if number == signal.SIGTERM else -number)
        return trial.read_trial(state).without_last("").starts > 0

    assert not failed(signal.SIGTERM)
    assert not failed(signal.SIGTERM, is_loading=True)
    assert failed(signal.SIGKILL)


def test_ctrl_c_ends_it_without_a_word_of_its_parts(home: Path, tmp_path: Path) -> None:
    with serving(tmp_path, str(home), "--source", "fake:", "--rate", "50") as served:
        served.until(served.is_well)
        children = _children(served)
        # A terminal sends it to all of the group: whoever is busy with a frame then ends later than its parts.
        assert children and served.process.pid not in {os.getpgid(child) for child in children}
        os.killpg(served.process.pid, signal.SIGINT)
        assert served.process.wait(PATIENCE_S) == 0
        served.until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
        said = served.log.read_text()
    assert "Traceback" not in said and "started again" not in said
    assert "frames were answered" in said


def test_nothing_is_left_when_the_service_is_killed(home: Path, tmp_path: Path) -> None:
    with serving(tmp_path, str(home), "--source", "fake:", "--rate", "50") as served:
        served.until(served.is_well)
        children = _children(served)
        assert children
        served.end(signal.SIGKILL)
        served.until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def _children(served: Served) -> list[int]:
    pid = served.process.pid
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text() if Path(f"/proc/{pid}").exists() else ""
    others = [p.read_text() for p in Path(f"/proc/{pid}/task").glob("*/children")] if not text.strip() else [text]
    return [int(word) for words in others for word in words.split()]
