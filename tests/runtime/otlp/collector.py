"""The other end of OTLP over HTTP, of OpenTelemetry's own messages (opentelemetry-proto, collector/metrics/v1)."""

from __future__ import annotations

import contextlib
import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE, Metric

Key = tuple[str, frozenset[tuple[str, str]]]


class Collector:
    """What it was sent.

    Attributes:
        requests: One an export.
        paths: Where they were sent.
        headers: With what.
        status: It answers with.
        slow_s: It answers after.
    """

    def __init__(self, port: int = 0) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.slow_s = 200, 0.0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.paths.append(self.path)
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                if collector.status == 200:
                    collector.requests.append(ExportMetricsServiceRequest.FromString(body))
                time.sleep(collector.slow_s)
                with contextlib.suppress(OSError):
                    self.send_response(collector.status)
                    self.send_header("content-type", "application/x-protobuf")
                    answer = ExportMetricsServiceResponse().SerializeToString()
                    self.send_header("content-length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Let go of the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def resource(self) -> dict[str, str]:
        """Attributes of the last export's resource."""
        return {a.key: a.value.string_value for a in self.requests[-1].resource_metrics[0].resource.attributes}

    def metrics(self, number: int = -1) -> dict[str, Metric]:
        """Of one export, by name; each name is there once."""
        [of_resource] = self.requests[number].resource_metrics
        [of_scope] = of_resource.scope_metrics
        found = {metric.name: metric for metric in of_scope.metrics}
        assert len(found) == len(of_scope.metrics)
        return found

    def values(self, number: int = -1) -> dict[Key, float]:
        """Of one export: name and attributes to the value; of histograms the sum."""
        told: dict[Key, float] = {}
        for name, metric in self.metrics(number).items():
            for point in points_of(metric):
                key = name, frozenset(attributes_of(point).items())
                assert key not in told
                told[key] = point.sum if metric.HasField("histogram") else point.as_double
        return told


def points_of(metric: Metric) -> Any:
    """Its values; sums and histograms have to be cumulative."""
    kind = metric.WhichOneof("data")
    data = getattr(metric, str(kind))
    assert kind == "gauge" or data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    return data.data_points


def attributes_of(point: Any) -> dict[str, str]:
    """Of one value."""
    return {attribute.key: attribute.value.string_value for attribute in point.attributes}


@contextlib.contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """A collector, until the block is left."""
    collector = Collector(port)
    try:
        yield collector
    finally:
        collector.close()
