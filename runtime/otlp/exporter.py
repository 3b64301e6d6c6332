"""Metrics on their way to a collector: OTLP over HTTP, by OpenTelemetry's own exporter."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any

import multigraft
from multigraft.errors import DeviceError, MissingDependencyError, one_line
from multigraft.installing import how_missing, install_extra, repair
from multigraft.reading import printable
from multigraft.runtime.otlp import environment as variables
from multigraft.runtime.otlp.names import Point, Series, described, renamed

OWN = ("http_refused", "otlp_up", "otlp_exports")
"""Families that are counted by the process that speaks HTTP, from its own start on."""
_MOST_SAID = 200


class Exporter:
    """Sends metrics; an exporter is made at the first attempt that can make one.

    Args:
        started_ns: When the loop began to count, nanoseconds since 1970.
        environment: OpenTelemetry's variables, for what is read here; its exporter reads those of the process.
    """

    def __init__(self, started_ns: int, environment: Mapping[str, str] = os.environ) -> None:
        self._started_ns, self._own_started_ns = started_ns, time.time_ns()
        self._environment = environment
        self._exporter: Any = None
        self._session: Any = None
        # Else the library's words would stand in the log every time.
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        logging.getLogger("opentelemetry").propagate = False

    def send(self, families: Iterable[Any]) -> None:
        """Tell the collector.

        Args:
            families: Prometheus'.

        Raises:
            ConfigurationError: A variable cannot be meant so.
            DeviceError: The collector does not take it.
            MissingDependencyError: The extra is not installed.
        """
        variables.check(self._environment)
        try:
            if self._exporter is None:
                self._session, self._exporter = _exporter()
            from opentelemetry.sdk.metrics.export import MetricExportResult
        except ImportError as error:
            # Many distributions share that name: that one of them is there does not say that this one is damaged.
            is_missing = isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("opentelemetry")
            remedy = install_extra("otlp")
            raise MissingDependencyError(
                "OpenTelemetry needs opentelemetry-exporter-otlp-proto-http, which is "
                + ("not installed" if is_missing else how_missing(error)),
                remedy if is_missing else repair(error, remedy),
            ) from error
        except Exception as error:
            # Of a certificate that is not there, or a timeout that is no number.
            said = f"OpenTelemetry's exporter cannot be made ({_said(error)})"
            raise DeviceError(said, "correct the variables OTEL_EXPORTER_OTLP_…") from error
        data = self._data(list(families))
        self._session.trouble = ""
        try:
            is_sent = self._exporter.export(data) is MetricExportResult.SUCCESS
        except Exception as error:
            is_sent, self._session.trouble = False, _said(error)
        if not is_sent:
            where = variables.host_of(variables.endpoint_of(self._environment))
            raise DeviceError(
                f"the collector at {printable(where)} does not take figures ({self._session.trouble or 'no answer'})",
                "start it, or correct OTEL_EXPORTER_OTLP_ENDPOINT",
            )

    def _data(self, families: list[Any]) -> Any:
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        ours: dict[str, Any] = {
            "service.name": "multigraft",
            "service.version": multigraft.__version__,
            "host.name": socket.gethostname(),
            **described(families),
        }
        # The user's words go before ours.
        resource = Resource(ours).merge(OTELResourceDetector().detect())
        now_ns = time.time_ns()
        metrics = [self._metric(series, now_ns) for series in renamed(families)]
        scope = ScopeMetrics(InstrumentationScope("multigraft", multigraft.__version__), metrics, "")
        return MetricsData([ResourceMetrics(resource, [scope], "")])

    def _metric(self, series: Series, now_ns: int) -> Any:
        from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Metric, Sum

        start_ns = self._own_started_ns if series.family in OWN else self._started_ns
        # A clock that is set back, as one without a battery may be, must not let a sum end before it begins.
        start_ns = min(start_ns, now_ns)
        cumulative = AggregationTemporality.CUMULATIVE
        data: Any
        if series.kind == "histogram":
            data = Histogram([_histogram(point, start_ns, now_ns) for point in series.points], cumulative)
        elif series.kind == "gauge":
            data = Gauge([_number(point, None, now_ns) for point in series.points])
        else:
            numbers = [_number(point, start_ns, now_ns) for point in series.points]
            data = Sum(numbers, cumulative, is_monotonic=series.kind == "counter")
        return Metric(series.name, series.text, series.unit, data)


def _number(point: Point, start_ns: int | None, now_ns: int) -> Any:
    from opentelemetry.sdk.metrics.export import NumberDataPoint

    return NumberDataPoint(dict(point.attributes), start_ns, now_ns, float(point.value))  # type: ignore[arg-type]


def _histogram(point: Point, start_ns: int, now_ns: int) -> Any:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    least: Any = None
    return HistogramDataPoint(
        dict(point.attributes), start_ns, now_ns, sum(point.counts), point.value,
        list(point.counts), list(point.bounds), least, least,
    )  # fmt: skip


def _exporter() -> tuple[Any, Any]:
    """A session that notes what went wrong, and the exporter that uses it, which tells only that something did."""
    import requests
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    class Session(requests.Session):
        trouble = ""

        def request(self, *arguments: Any, **options: Any) -> requests.Response:
            try:
                answer = super().request(*arguments, **options)
            except Exception as error:
                self.trouble = _said(error)
                raise
            said = f"it answers {answer.status_code} {printable(answer.reason or '')}"
            self.trouble = "" if answer.ok else said.strip()
            return answer

    session = Session()
    return session, OTLPMetricExporter(session=session)


def _said(error: BaseException) -> str:
    """The system's words for it, which lie below the library's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__:
            return os.strerror(errno.ETIMEDOUT)
        if isinstance(cause, OSError) and type(cause).__module__ in ("builtins", "socket", "ssl") and cause.strerror:
            return printable(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    # The libraries quote addresses whole.
    return printable(re.sub(r"://\S*@", "://", one_line(error)))[:_MOST_SAID]
