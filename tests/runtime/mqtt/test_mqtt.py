"""What a broker is told, by a real mosquitto: entities, states, events, and a broker that goes, hangs or floods."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from multigraft.cli.main import main
from multigraft.cli.shared import broker_told
from multigraft.errors import ConfigurationError, DeviceError, UsageError
from multigraft.runtime.engine import Engine
from multigraft.runtime.mqtt.broker import Broker
from multigraft.runtime.mqtt.connection import probe
from multigraft.runtime.mqtt.discovery import Topics, configurations
from multigraft.runtime.mqtt.names import node_of, slug
from multigraft.runtime.mqtt.publisher import MOST_EVENTS, Publisher
from multigraft.runtime.mqtt.states import dumped, machine, state_of
from tests.box_bundle import box_bundle, bright_frames
from tests.runtime.service.served import free_port, serving, until

FIGURES = {
    "rate_hz": 9.87,
    "camera": True,
    "temperature_c": 51.2,
    "throttled": False,
    "power": [{"rail": "VDD_IN", "source": "ina3221", "joules": 7200.0, "watts": 2.5}],
}


@contextlib.contextmanager
def mosquitto(folder: Path, port: int, *lines: str) -> Iterator[subprocess.Popen[bytes]]:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("mosquitto: not installed")
    # As root it would become a user of its own, who reads no folder of pytest.
    first = (f"user {getpass.getuser()}", f"listener {port} 127.0.0.1")
    (folder / "mosquitto.conf").write_text("\n".join((*first, *lines, "")))
    process = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    try:
        until(lambda: _answers(port))
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Ear:
    """Hears everything that a broker is told; keeps the last text of a topic, and all events."""

    def __init__(self, port: int) -> None:
        self.texts: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.on_message = self._heard
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _heard(self, client: Any, userdata: Any, message: Any) -> None:
        text = message.payload.decode("utf-8", "replace")
        if message.topic.startswith("multigraft/") and "/event/" in message.topic:
            self.events.append(json.loads(text))
        if text:
            self.texts[message.topic] = text
        else:
            self.texts.pop(message.topic, None)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def ear(port: int) -> Iterator[Ear]:
    heard = Ear(port)
    try:
        yield heard
    finally:
        heard.close()


def entities(texts: dict[str, str]) -> set[str]:
    return {topic.split("/")[-2] for topic in texts if topic.endswith("/config")}


@contextlib.contextmanager
def publishing(port: int, state: Path, tasks: tuple[str, ...] | None = None) -> Iterator[Publisher]:
    broker = Broker("127.0.0.1", port)
    publisher = Publisher(broker, box_bundle().manifest, tasks, "ab" * 32, state, lambda: FIGURES)
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.stop()


def test_a_served_bundle_is_told_and_the_broker_may_go_and_come_back(tmp_path: Path) -> None:
    box_bundle().write(tmp_path / "home.graft")
    np.save(tmp_path / "frames.npy", bright_frames(*[20] * 20, *[None] * 20))
    port = free_port()
    arguments = (str(tmp_path / "home.graft"), "--source", str(tmp_path / "frames.npy"), "--rate", "50")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(mosquitto(tmp_path, port, "allow_anonymous true"))
        served = stack.enter_context(serving(tmp_path, *arguments, "--mqtt", f"mqtt://127.0.0.1:{port}"))
        with ear(port) as heard:
            topics = Topics(node_of(tmp_path / "state"), "multigraft", "homeassistant")
            until(lambda: heard.texts.get(topics.availability) == "online", served.log.read_text)
            until(lambda: {"appears", "vanishes"} <= {event["event_type"] for event in heard.events})
            until(lambda: topics.task("line") in heard.texts)
            assert {"task_line", "task_line_count_line", "task_kind_event", "frame_rate"} <= entities(heard.texts)
        first.kill()
        first.wait()
        until(lambda: served.json("/live/state")["errors"].get("mqtt") == 1)
        frames = served.json("/live/state")["frames"]
        until(lambda: served.json("/live/state")["frames"] > frames + 100)
        assert b"mqtt_up 0.0" in served.ask("/metrics")[2]
        stack.enter_context(mosquitto(tmp_path, port, "allow_anonymous true"))
        until(lambda: b"mqtt_up 1.0" in served.ask("/metrics")[2])
        with ear(port) as heard:
            until(lambda: "task_line" in entities(heard.texts))
            served.end(signal.SIGKILL)
            until(lambda: heard.texts.get(topics.availability) == "offline")
        assert "MQTT: 127.0.0.1" in served.log.read_text()


def test_run_tells_all_of_a_recording_before_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    box_bundle().write(tmp_path / "home.graft")
    # Comes and goes twice, and is there at the end.
    np.save(tmp_path / "frames.npy", bright_frames(*([20] * 20 + [None] * 20) * 2, *[20] * 20))
    port = free_port()
    with mosquitto(tmp_path, port, "allow_anonymous true"), ear(port) as heard:
        words = ["--source", str(tmp_path / "frames.npy"), "--mqtt", f"mqtt://127.0.0.1:{port}"]
        assert main(["run", str(tmp_path / "home.graft"), *words]) == 0
        until(lambda: "offline" in heard.texts.values())
        node = next(topic for topic, text in heard.texts.items() if text == "offline").split("/")[1]
        changes = [event["event_type"] for event in heard.events if event.get("label") == "line"]
        assert changes == ["appears", "vanishes", "appears", "vanishes", "appears"]
        assert json.loads(heard.texts[f"multigraft/{node}/task/line"])["counts"] == {"line": 1}
        assert {"task_line", "task_line_count_line", "task_kind_event", "frame_rate"} <= entities(heard.texts)
        assert node != node_of(tmp_path / "multigraft")
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 100 and "MQTT" not in told.err


def test_run_goes_on_without_a_broker_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(broker_told, "DRAIN_S", 0.2)
    box_bundle().write(tmp_path / "home.graft")
    words = ["run", str(tmp_path / "home.graft"), "--source", "fake:64x64,frames=3"]
    assert main([*words, "--mqtt", f"mqtt://127.0.0.1:{free_port()}"]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 3
    assert "does not answer" in told.err and "was not told everything" in told.err
    assert main([*words, "--mqtt-prefix", "garden"]) == 2
    assert "name it: --mqtt mqtt://broker" in capsys.readouterr().err


def test_entities_of_tasks_that_are_gone_are_removed_after_a_restart(tmp_path: Path) -> None:
    port = free_port()
    with mosquitto(tmp_path, port, "allow_anonymous true"), ear(port) as heard:
        with publishing(port, tmp_path):
            until(lambda: {"task_line", "task_kind"} <= entities(heard.texts))
            ids = {json.loads(t)["unique_id"] for topic, t in heard.texts.items() if topic.endswith("/config")}
        with publishing(port, tmp_path, ("kind",)):
            until(lambda: "task_line" not in entities(heard.texts))
            assert "task_kind" in entities(heard.texts)
            after = {json.loads(t)["unique_id"] for topic, t in heard.texts.items() if topic.endswith("/config")}
    assert after < ids


def test_hostile_messages_are_counted_and_not_obeyed(tmp_path: Path) -> None:
    port = free_port()
    with mosquitto(tmp_path, port, "allow_anonymous true"), ear(port) as heard, publishing(port, tmp_path) as publisher:
        until(lambda: "task_line" in entities(heard.texts))
        for number in range(100):
            text = bytes([number]) * (1 + 10 * number)
            heard.client.publish("homeassistant/status", text, 1).wait_for_publish(10)
        heard.client.publish("homeassistant/status", b"x" * 300_000, 1).wait_for_publish(10)
        # The flood ends the connection; then it is told again.
        until(lambda: publisher.losses == 1)
        until(lambda: publisher.is_up)
        assert publisher.to_json()["foreign"] == 100


def test_a_broker_that_says_nothing_or_lies_holds_nobody_up(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]

        def lie() -> None:
            # CONNACK, then a publish of 200 MiB that never ends.
            with contextlib.suppress(OSError):
                other, _ = listening.accept()
                other.recv(1024)
                other.sendall(b"\x20\x02\x00\x00" + b"\x30\x80\x80\x80\x64" + b"\x00\x01a" + b"x" * 200_000)
                other.recv(1 << 20)

        thread = threading.Thread(target=lie, daemon=True)
        thread.start()
        engine = Engine(box_bundle())
        answers = [engine.run(frame).answers for frame in bright_frames(20, None)]
        with publishing(port, tmp_path) as publisher:
            for number in range(4000):
                publisher.answered(answers[number // 10 % 2])
            until(lambda: publisher.losses == 1)
            assert publisher.dropped > 0
            assert len(publisher._events) == MOST_EVENTS


def test_password_and_tls_with_a_real_broker(tmp_path: Path) -> None:
    if shutil.which("openssl") is None or shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto: no openssl or mosquitto_passwd")
    port = free_port()
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "ca")]
    subprocess.run([*make, *names], check=True, capture_output=True)
    command = ["mosquitto_passwd", "-b", "-c", str(tmp_path / "users"), "pi", "secret word"]
    subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "password").write_text("secret word\n")
    (tmp_path / "wrong").write_text("secret\n")
    lines = (f"certfile {tmp_path / 'ca'}", f"keyfile {tmp_path / 'key'}", f"password_file {tmp_path / 'users'}")
    url = f"mqtts://pi@127.0.0.1:{port}"
    with mosquitto(tmp_path, port, *lines, "allow_anonymous false"):
        probe(Broker.parse(url, tmp_path / "password", tmp_path / "ca"))
        with pytest.raises(DeviceError, match="refuses the connection"):
            probe(Broker.parse(url, tmp_path / "wrong", tmp_path / "ca"))
        with pytest.raises(DeviceError, match="certificate verify failed"):
            probe(Broker.parse(url, tmp_path / "password"))


@pytest.mark.parametrize(
    "url", ["broker", "http://broker", "mqtt://", "mqtt://a/b", "mqtt://a:99999", "mqtt://a:0", "mqtt://u:secret@a"]
)
def test_addresses_that_are_none_are_refused_without_telling_a_password(url: str) -> None:
    with pytest.raises(UsageError, match="--mqtt") as told:
        Broker.parse(url)
    assert "secret" not in str(told.value)


def test_a_file_that_holds_no_password_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("one\ntwo\n")
    with pytest.raises(ConfigurationError, match="holds no password"):
        Broker.parse("mqtt://u@a", tmp_path / "password").password()


def test_names_are_safe_stable_and_stay_apart() -> None:
    names = ["a/b", "a+b", "a#b", "A_b", "a_b", "", "ü", "x" * 300, "a\nb"]
    made = [slug(name) for name in names]
    assert len(set(made)) == len(names) and made == [slug(name) for name in names]
    assert all(one and len(one) <= 49 and not set(one) - set("abcdefghijklmnopqrstuvwxyz0123456789_") for one in made)


def test_energy_is_what_the_energy_dashboard_takes() -> None:
    told = machine(FIGURES)
    topics = Topics("node", "multigraft", "homeassistant")
    found = configurations(topics, box_bundle().manifest, ("line", "kind"), "ab" * 32, told)
    [energy] = [entity for entity in found.values() if entity.get("device_class") == "energy"]
    assert (energy["state_class"], energy["unit_of_measurement"]) == ("total_increasing", "Wh")
    key = energy["value_template"].split(".")[1].split()[0]
    assert told[key] == 2.0
    assert len({entity["unique_id"] for entity in found.values()}) == len(found)


def test_boxes_are_counted_by_class() -> None:
    bundle = box_bundle()
    engine = Engine(bundle)
    counts = []
    for frame in bright_frames(20, None):
        told = state_of(bundle.manifest, bundle.manifest.task("line"), engine.run(frame).answers["line"])
        json.loads(dumped(told))
        counts.append(told["counts"]["line"])
    assert counts == [1, 0]


SCHEMAS = """
import json, sys
from homeassistant.components.mqtt import binary_sensor, event, sensor
for topic, entity in json.load(sys.stdin).items():
    module = {"binary_sensor": binary_sensor, "event": event, "sensor": sensor}[topic.split("/")[1]]
    # A key that it does not know is left out of what it returns.
    assert not set(entity) - set(module.DISCOVERY_SCHEMA(entity)), topic
"""


def test_home_assistants_own_schema_takes_every_entity() -> None:
    """Tried with 2024.3.3; the variable names a Python that has it."""
    python = os.environ.get("MULTIGRAFT_HOME_ASSISTANT")
    if python is None:
        pytest.skip("home assistant: MULTIGRAFT_HOME_ASSISTANT names no Python that has it")
    topics = Topics("node", "multigraft", "homeassistant")
    found: dict[str, Any] = {}
    for labels in (("line",), ("a'b{{ x }}", "ü/+#")):
        manifest = box_bundle(labels).manifest
        found |= configurations(topics, manifest, ("line", "kind"), "ab" * 32, machine(FIGURES))
    command = [python, "-c", SCHEMAS]
    done = subprocess.run(command, input=json.dumps(found), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


KEYS = {
    "sensor": {"state_topic", "value_template", "json_attributes_topic", "json_attributes_template", "device_class"}
    | {"state_class", "unit_of_measurement"},
    "binary_sensor": {"state_topic", "value_template", "device_class"},
    "event": {"state_topic", "event_types"},
}
"""By home-assistant.io's pages of each; those of all entities besides."""
OF_ALL = {"name", "unique_id", "availability_topic", "device", "origin", "entity_category"}


def test_entities_have_documented_keys_alone() -> None:
    topics = Topics("node", "multigraft", "homeassistant")
    manifest = box_bundle(("a'b{{ x }}",)).manifest
    found = configurations(topics, manifest, ("line", "kind"), "ab" * 32, machine(FIGURES))
    for topic, entity in found.items():
        assert set(entity) <= KEYS[topic.split("/")[1]] | OF_ALL
        # What is rendered over there is made here alone, whatever a label says.
        assert "{{ x" not in entity.get("value_template", "")
        assert set(entity["device"]) <= {"identifiers", "name", "manufacturer", "model", "sw_version", "hw_version"}


def test_no_password_stands_in_the_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "password").write_text("secret\n")
    words = ["service", "install", "--print", "--source", "fake:", "--mqtt", "mqtts://pi@broker:8883"]
    assert main([*words, "--mqtt-password-file", str(tmp_path / "password")]) == 0
    text = capsys.readouterr().out
    assert f"LoadCredential=mqtt-password:{tmp_path / 'password'}" in text
    assert "--mqtt mqtts://pi@broker:8883" in text and "--mqtt-password-file %d/mqtt-password" in text
    assert "secret" not in text and "IPAddressDeny" not in text
