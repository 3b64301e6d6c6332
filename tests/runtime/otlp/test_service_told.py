"""A service and its OpenTelemetry collector, which comes and goes."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from multigraft.runtime.otlp import environment
from tests.bundle_builder import build
from tests.runtime.otlp.collector import Collector, attributes_of, collecting, points_of
from tests.runtime.service.served import free_port, serving


@pytest.fixture
def home(tmp_path: Path) -> Path:
    build().bundle.write(tmp_path / "home.graft")
    return tmp_path / "home.graft"


def frames_of(collector: Collector) -> float:
    return collector.values()["multigraft.frame.answered", frozenset()]


def test_a_service_tells_its_figures_while_the_collector_comes_and_goes(home: Path, tmp_path: Path) -> None:
    port = free_port()
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", environment.INTERVAL: "200"}
    told["OTEL_EXPORTER_OTLP_TIMEOUT"] = "0.5"

    def counted(served: Any, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", served.ask("/metrics")[2].decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    with serving(tmp_path, str(home), "--source", "fake:28x28,grey", environment=told) as served:
        served.until(served.is_well)
        # Not there yet.
        served.until(lambda: counted(served, 'otlp_exports_total{end="failed"}') >= 2)
        assert counted(served, 'errors_total{kind="otlp"}') == 1 and counted(served, "otlp_up") == 0
        with collecting(port) as collector:
            before = counted(served, "frames_total")
            served.until(lambda: bool(collector.requests) and frames_of(collector) > before > 0)
            assert frames_of(collector) <= counted(served, "frames_total")
            assert {"garment", "digit"} == {
                attributes_of(p)["multigraft.task"]
                for p in points_of(collector.metrics()["multigraft.inference.duration"])
            }
            served.until(lambda: counted(served, "otlp_up") == 1)
            # Slower than it is waited for: frames and /metrics go on.
            collector.slow_s = 2.0
            failed = counted(served, 'otlp_exports_total{end="failed"}')
            frames = counted(served, "frames_total")
            served.until(lambda: counted(served, 'otlp_exports_total{end="failed"}') > failed)
            assert counted(served, "frames_total") > frames and served.is_well()
        # And back at the same address.
        with collecting(port) as collector:
            served.until(lambda: bool(collector.requests))
            served.until(lambda: counted(served, "otlp_up") == 1)
            assert served.end() == 0
            last = re.search(r"(\d+) frames were answered", served.log.read_text())
            # The last figures are told at the end.
            assert last is not None and frames_of(collector) == int(last[1])
    log = served.log.read_text()
    assert "the collector at 127.0.0.1 does not take figures (Connection refused)" in log
    assert "OpenTelemetry: the collector takes figures again" in log
    assert "Traceback" not in log


def test_figures_are_told_without_http(home: Path, tmp_path: Path) -> None:
    with collecting() as collector:
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, environment.INTERVAL: "100"}
        arguments = (str(home), "--source", "fake:28x28,grey")
        with serving(tmp_path, *arguments, listen="none", environment=told) as served:
            served.until(lambda: len(collector.requests) > 1 and frames_of(collector) > 0)
            assert served.end(signal.SIGTERM) == 0
        assert collector.resource()["multigraft.bundle.name"] == "test"
        assert "Traceback" not in served.log.read_text()
