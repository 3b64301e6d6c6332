"""Figures at an OpenTelemetry collector: those of /metrics under its names, whatever becomes of the collector."""

from __future__ import annotations

import builtins
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from multigraft.errors import ConfigurationError, DeviceError, MissingDependencyError
from multigraft.runtime.http.metrics import exposition, families
from multigraft.runtime.otlp import environment
from multigraft.runtime.otlp.exporter import Exporter
from multigraft.runtime.otlp.exporting import Exporting
from multigraft.runtime.otlp.names import NAMES, renamed, type_of
from tests.runtime.otlp.collector import Collector, attributes_of, collecting, points_of
from tests.runtime.service.served import free_port

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
EXPORTS = {"up": True, "ends": {"sent": 3, "failed": 1}}
FIGURES: dict[str, Any] = {
    "bundle": {"sha256": "ab" * 32, "name": "home"},
    "tasks": {
        "digit": {"buckets": [("0.001", 2), ("0.01", 5), ("+Inf", 6)], "sum": 0.07},
        "garment": {"buckets": [("0.001", 0), ("0.01", 1), ("+Inf", 1)], "sum": 0.004},
    },
    "frames": 6,
    "cameras": [{"name": "front", "tasks": ["digit", "garment"], "dropped": 11, "up": True, "losses": 2}],
    "rate_hz": 12.5,
    "power": [
        {"rail": "VIN", "source": "ina238", "joules": 40.5, "watts": 4.25},
        {"rail": "VDD_GPU_SOC", "source": "ina3221", "joules": 10.25, "watts": 1.5},
        {"rail": "VDD_CPU_CV", "source": "ina3221", "joules": 3.5, "watts": 0.5},
    ],
    "temperature_c": 61.5,
    "throttled": 1,
    "memory_bytes": 52_428_800,
    "descriptors": 23,
    "errors": {"sensor": 1, "otlp": 2},
    "mqtt": {"up": True, "sent": 9, "dropped": 1, "losses": 3, "foreign": 4},
    "schedule": {"digit": {"rate_hz": 5.0, "met": 90, "missed": 7}},
    "exits": {
        "exit_digit": {"task": "digit", "reached": 6, "taken": 4, "audited": 2, "disagreed": 1, "open": True},
        "gate_garment": {
            "task": "garment",
            "reached": 9,
            "taken": 3,
            "audited": 0,
            "disagreed": 0,
            "open": True,
            "drifted": True,
        },
    },
    "offload": {"up": True, "ends": {"server": 8, "local": 3, "failed": 2}, "bytes": 4096},
    "requests": {"answered": 4, "busy": 1},
}
NO_METRICS = {
    "hw.id", "hw.type", "hw.state", "multigraft.source", "multigraft.task",
    "multigraft.bundle.name", "multigraft.camera.name", "multigraft.camera.tasks", "multigraft.exit.name",
}  # fmt: skip
REFUSED = Counter({"no token": 5})


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as one:
        yield one


@pytest.fixture
def sender(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Exporter:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    return Exporter(started_ns=1_000_000_000)


def now() -> Iterable[Any]:
    return families(FIGURES, REFUSED, EXPORTS)


def test_the_collector_gets_what_metrics_says(collector: Collector, sender: Exporter) -> None:
    sender.send(now())
    assert collector.paths == ["/v1/metrics"]
    body, _ = exposition(FIGURES, REFUSED, OPEN_METRICS, EXPORTS)
    parse: Callable[[str], Iterable[Metric]] = text_string_to_metric_families
    said = list(parse(body.decode()))
    told = collector.metrics()
    left = {key: value for key, value in collector.values().items() if not key[0].startswith("hw.")}
    for family in said:
        if family.name not in NAMES or family.type == "histogram":
            continue
        for sample in family.samples:
            values = set(sample.labels.values())
            keys = [(name, a) for name, a in left if name == NAMES[family.name][0] and {v for _, v in a} == values]
            assert [left.pop(key) for key in keys] == ([sample.value] if NAMES[family.name][0][:3] != "hw." else [])
    assert {name for name, _ in left} == {"multigraft.inference.duration"}
    durations = {attributes_of(p)["multigraft.task"]: p for p in points_of(told["multigraft.inference.duration"])}
    assert set(durations) == {"digit", "garment"}
    digit = durations["digit"]
    # Not added up from bucket to bucket, as Prometheus has them.
    assert (list(digit.explicit_bounds), list(digit.bucket_counts)) == ([0.001, 0.01], [2, 3, 1])
    assert (digit.count, digit.sum) == (6, 0.07)
    assert not digit.HasField("min") and not digit.HasField("max")


def test_every_metric_has_a_name_of_its_own(collector: Collector, sender: Exporter) -> None:
    own = {"energy_joules", "power_watts", "throttled", "bundle"}
    assert {family.name for family in now()} == set(NAMES) | own
    sender.send(now())
    names = collector.metrics()
    assert set(names) >= {name for name, _ in NAMES.values()}
    # None stands for a metric and for a group of metrics at once (semantic conventions, naming).
    assert not [name for name in names if any(other.startswith(f"{name}.") for other in names) and name[:3] != "hw."]


def test_the_whole_machine_is_told_apart_from_its_parts(collector: Collector, sender: Exporter) -> None:
    sender.send(now())
    values, metrics = collector.values(), collector.metrics()

    def of(name: str) -> dict[str, float]:
        return {dict(attributes)["hw.id"]: value for (told, attributes), value in values.items() if told == name}

    assert of("hw.host.energy") == {"VIN": 40.5} and of("hw.host.power") == {"VIN": 4.25}
    assert of("hw.energy") == {"VDD_GPU_SOC": 10.25, "VDD_CPU_CV": 3.5}
    assert of("hw.power") == {"VDD_GPU_SOC": 1.5, "VDD_CPU_CV": 0.5}
    assert of("hw.temperature") == {"hottest thermal zone": 61.5}
    types = {
        attributes_of(point)["hw.id"]: attributes_of(point)["hw.type"] for point in points_of(metrics["hw.energy"])
    }
    assert types == {"VDD_GPU_SOC": "gpu", "VDD_CPU_CV": "cpu"}
    units = {name: metrics[name].unit for name in ("hw.energy", "hw.host.energy", "hw.power", "hw.temperature")}
    assert units == {"hw.energy": "J", "hw.host.energy": "J", "hw.power": "W", "hw.temperature": "Cel"}
    assert metrics["hw.energy"].sum.is_monotonic and metrics["hw.power"].HasField("gauge")
    states = {attributes_of(p)["hw.state"]: p.as_double for p in points_of(metrics["hw.status"])}
    assert states == {"ok": 0.0, "degraded": 1.0} and not metrics["hw.status"].sum.is_monotonic


@pytest.mark.parametrize(
    ("rail", "kind"),
    [
        ("package-0", "cpu"),
        ("VDD_CPU_GPU_CV", "power_rail"),
        ("VDD_IN", "power_rail"),
        ("VDDQ_VDD2_1V8AO", "memory"),
        ("VDD_CPU+VDD_DDR", "power_rail"),
        ("SYS_GPU", "gpu"),
        ("VDD_CPUX", "power_rail"),
    ],
)
def test_what_a_rail_feeds(rail: str, kind: str) -> None:
    assert type_of(rail) == kind


def test_what_is_absent_is_not_told() -> None:
    bare = {**FIGURES, "power": [], "temperature_c": None, "throttled": None, "schedule": {}, "exits": {}}
    bare |= {"mqtt": None, "offload": None}
    told = {series.name for series in renamed(families(bare, Counter()))}
    unasked = {**FIGURES, "offload": {**FIGURES["offload"], "up": None}}
    among = {series.name for series in renamed(families(unasked, Counter()))}
    assert "multigraft.offload.answers" in among and "multigraft.offload.up" not in among
    without = ("hw.", *(f"multigraft.{part}" for part in ("mqtt", "deadline", "exit", "offload")))
    assert not [name for name in told if name.startswith(without)] and "multigraft.frame.answered" in told


def test_sums_begin_where_the_loop_began(collector: Collector, sender: Exporter) -> None:
    before = time.time_ns()
    sender.send(now())
    starts = {
        name: {point.start_time_unix_nano for point in points_of(metric)}
        for name, metric in collector.metrics().items()
    }
    assert starts["multigraft.frame.answered"] == starts["hw.host.energy"] == {1_000_000_000}
    [own] = starts["multigraft.http.refused"]
    assert 1_000_000_000 < own <= time.time_ns()
    assert starts["multigraft.frame.rate"] == {0}
    ends = {p.time_unix_nano for metric in collector.metrics().values() for p in points_of(metric)}
    assert len(ends) == 1 and before <= min(ends) <= time.time_ns()


def test_a_clock_that_was_set_back_makes_no_sum_end_before_it_begins(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    Exporter(started_ns=time.time_ns() + 10**15).send(now())
    for metric in collector.metrics().values():
        assert all(point.start_time_unix_nano <= point.time_unix_nano for point in points_of(metric))


def test_the_resource_says_what_is_served_and_the_user_has_the_last_word(
    collector: Collector, sender: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender.send(now())
    told = collector.resource()
    assert (told["service.name"], told["multigraft.bundle.sha256"]) == ("multigraft", "ab" * 32)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "host.name=garden,deployment.environment.name=home")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "front")
    sender.send(now())
    told = collector.resource()
    assert (told["service.name"], told["host.name"]) == ("front", "garden")
    assert told["deployment.environment.name"] == "home" and told["multigraft.bundle.name"] == "home"


def test_the_exporter_has_its_own_variables(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{collector.url}/here")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    Exporter(0).send(now())
    assert collector.paths == ["/here"]
    assert collector.headers[0]["x-token"] == "secret" and collector.headers[0]["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("given", "is_wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "1"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_METRICS_EXPORTER": "none"}, False),
        ({"OTEL_METRICS_EXPORTER": "console, otlp"}, True),
        ({"OTEL_SERVICE_NAME": "front"}, False),
    ],
)
def test_when_figures_are_told(given: dict[str, str], is_wanted: bool) -> None:
    assert environment.is_wanted(given) is is_wanted


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "'collector:4318' is no address; write for example http://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "is no address"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "ftp://me:secret@c/", "METRICS_ENDPOINT 'ftp://c/' is no address"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:se/secret@c:4318", "'http://c:4318' is no address"),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "OTEL_EXPORTER_OTLP_PROTOCOL is grpc, which is not spoken here; set",
        ),
    ],
)
def test_variables_that_cannot_be_meant_so(
    name: str, value: str, problem: str, sender: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        sender.send(now())
    assert problem in str(refused.value) and "secret" not in str(refused.value)


def test_what_a_library_quotes_shows_no_password(
    collector: Collector, sender: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quoting(*arguments: Any, **options: Any) -> Any:
        raise requests.exceptions.InvalidURL("Invalid URL 'http://me:secret@c/v1': it says")

    monkeypatch.setattr(requests.Session, "request", quoting)
    with pytest.raises(DeviceError, match="Invalid URL 'http://c/v1': it says"):
        sender.send(now())


@pytest.mark.parametrize("text", ["1s", "0", "-5", "1e3", "9999999999"])
def test_an_interval_that_is_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="OTEL_METRIC_EXPORT_INTERVAL"):
        environment.interval_s({environment.INTERVAL: text})
    assert environment.interval_s({environment.INTERVAL: "250"}) == 0.25
    assert environment.interval_s({}) == 60.0


def test_a_collector_that_refuses_says_with_what(collector: Collector, sender: Exporter) -> None:
    collector.status = 401
    with pytest.raises(DeviceError, match=r"the collector at 127.0.0.1 does not take figures \(it answers 401 Unauth"):
        sender.send(now())
    collector.status = 200
    sender.send(now())
    assert len(collector.requests) == 1


@pytest.mark.parametrize(("slow_s", "said"), [(1.0, "Connection timed out"), (None, "Connection refused")])
def test_a_collector_that_is_slow_or_gone_has_a_limit(
    slow_s: float | None, said: str, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    if slow_s is None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    else:
        collector.slow_s = slow_s
    with pytest.raises(DeviceError, match=said):
        Exporter(0).send(now())


def test_a_missing_extra_is_named_with_its_remedy(sender: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return usual(name, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without)
        with pytest.raises(MissingDependencyError, match=r"which is not installed; run: .*\[otlp\]"):
            sender.send(now())
    # Once it is there, it is taken.
    sender.send(now())


def test_one_sentence_for_one_trouble(collector: Collector, sender: Exporter) -> None:
    said: list[tuple[bool, str]] = []
    exporting = Exporting(sender, now, lambda is_up, sentence: said.append((is_up, sentence)))
    collector.status = 400
    for _ in range(3):
        exporting.once()
    assert [is_up for is_up, _ in said] == [False] and not exporting.is_up
    collector.status = 200
    exporting.once()
    exporting.once()
    assert said[1:] == [(True, "the collector takes figures again")]
    assert exporting.to_json() == {"up": True, "ends": {"sent": 2, "failed": 3}}


def test_figures_that_cannot_be_had_end_nothing(sender: Exporter) -> None:
    said: list[str] = []

    def broken() -> Iterable[Any]:
        raise RuntimeError("no figures")

    Exporting(sender, broken, lambda is_up, sentence: said.append(sentence)).once()
    assert said == ["figures cannot be told to OpenTelemetry (RuntimeError('no figures'))."]


def test_the_page_names_every_metric(collector: Collector, sender: Exporter) -> None:
    sender.send(now())
    page = (Path(__file__).parents[3] / "docs" / "opentelemetry.md").read_text("utf-8")
    assert set(collector.metrics()) == set(re.findall(r"`((?:hw|process|multigraft)\.[a-z_.]+)`", page)) - NO_METRICS
