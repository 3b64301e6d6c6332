"""The figures in the form that Prometheus reads: OpenMetrics, by its own client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from multigraft.errors import MissingDependencyError
from multigraft.installing import how_missing, install_extra


def exposition(
    figures: dict[str, Any], refused: Counter[str], accept: str, exports: Mapping[str, Any] | None = None
) -> tuple[bytes, str]:
    """The text and its content type.

    Args:
        figures: What the loop tells of itself.
        refused: Requests that were not answered, by reason.
        accept: The client's header ``Accept``: OpenMetrics where it takes that, else Prometheus' older text.
        exports: See :func:`families`.

    Raises:
        MissingDependencyError: prometheus-client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
    except Exception as error:
        raise MissingDependencyError(
            f"metrics need prometheus-client, which is {how_missing(error)}", install_extra("serve")
        ) from error

    class Collector:
        def collect(self) -> Iterable[Any]:
            return families(figures, refused, exports)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def families(figures: dict[str, Any], refused: Counter[str], exports: Mapping[str, Any] | None = None) -> Iterator[Any]:
    """The metrics as Prometheus' client has them.

    Args:
        figures: What the loop tells of itself.
        refused: Requests that were not answered, by reason.
        exports: How an OpenTelemetry collector is told: ``up``, and ``ends`` by count; None where none is.
    """
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
    )

    bundle = InfoMetricFamily("bundle", "The bundle that is served.")
    bundle.add_metric([], {"sha256": figures["bundle"]["sha256"], "name": figures["bundle"]["name"]})
    yield bundle
    times = HistogramMetricFamily(
        "inference_seconds", "What a frame's segments that a task needs took.", labels=["task"], unit="seconds"
    )
    for task, known in figures["tasks"].items():
        times.add_metric([task], [(bound, count) for bound, count in known["buckets"]], known["sum"])
    yield times
    yield CounterMetricFamily("frames", "Frames that were answered.", value=figures["frames"])
    yield from _of_cameras(figures["cameras"])
    yield GaugeMetricFamily("frame_rate", "Frames a second over the last seconds.", value=figures["rate_hz"])
    joules = CounterMetricFamily("energy_joules", "Energy since the start.", labels=["rail", "source"], unit="joules")
    watts = GaugeMetricFamily("power_watts", "Power over the last second.", labels=["rail", "source"], unit="watts")
    for reading in figures["power"]:
        joules.add_metric([reading["rail"], reading["source"]], reading["joules"])
        watts.add_metric([reading["rail"], reading["source"]], reading["watts"])
    yield joules
    yield watts
    for name, text, value in (
        ("temperature_celsius", "The hottest thermal zone.", figures["temperature_c"]),
        ("throttled", "Whether the processor is slowed down now.", figures["throttled"]),
        ("resident_memory_bytes", "Memory of the process that infers.", figures["memory_bytes"]),
        ("open_descriptors", "Files and sockets that it holds.", figures["descriptors"]),
    ):
        if value is not None:
            yield GaugeMetricFamily(name, text, value=float(value))
    errors = CounterMetricFamily("errors", "What went wrong and was got over, by kind.", labels=["kind"])
    for kind, count in figures["errors"].items():
        errors.add_metric([kind], count)
    yield errors
    if figures.get("mqtt") is not None:
        yield from _of_broker(figures["mqtt"])
    yield from _schedule(figures["schedule"])
    yield from _of_exits(figures.get("exits") or {})
    if figures.get("offload") is not None:
        yield from _of_server(figures["offload"])
    asked = CounterMetricFamily(
        "inference_requests", "Requests for an inference, by what became of them.", None, ["end"]
    )
    for end, count in figures["requests"].items():
        asked.add_metric([end], count)
    yield asked
    unanswered = CounterMetricFamily(
        "http_refused", "HTTP requests and connections that were refused.", None, ["reason"]
    )
    for reason, count in sorted(refused.items()):
        unanswered.add_metric([reason], count)
    yield unanswered
    if exports is not None:
        yield GaugeMetricFamily("otlp_up", "Whether the collector took the last figures.", value=float(exports["up"]))
        told = CounterMetricFamily("otlp_exports", "Exports to a collector, by what became of them.", None, ["end"])
        for end, count in exports["ends"].items():
            told.add_metric([end], count)
        yield told


def _of_cameras(cameras: list[dict[str, Any]]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    # Tasks that take frames of different kinds may read one camera twice: its name alone is not unique.
    labels = ["camera", "tasks"]
    dropped = CounterMetricFamily(
        "dropped_frames", "Frames that a camera gave while another was looked at.", None, labels
    )
    is_up = GaugeMetricFamily("camera_up", "Whether a camera gives frames.", None, labels)
    losses = CounterMetricFamily("camera_losses", "How often it stopped giving frames.", None, labels)
    for camera in cameras:
        values = [camera["name"], ",".join(camera["tasks"])]
        dropped.add_metric(values, camera["dropped"])
        is_up.add_metric(values, float(camera["up"]))
        losses.add_metric(values, camera["losses"])
    yield from (dropped, is_up, losses)


def _of_broker(told: dict[str, Any]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily("mqtt_up", "Whether the MQTT broker answers.", value=float(told["up"]))
    for name, text, key in (
        ("mqtt_messages", "Messages that were sent to the broker.", "sent"),
        ("mqtt_dropped_events", "Events that were dropped while the broker was not there.", "dropped"),
        ("mqtt_losses", "How often the broker stopped answering.", "losses"),
        ("mqtt_foreign_messages", "Messages from the broker that nobody asked for.", "foreign"),
    ):
        yield CounterMetricFamily(name, text, value=told[key])


def _of_server(told: dict[str, Any]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    if told["up"] is not None:
        text = "Whether the server answered the last frame it got."
        yield GaugeMetricFamily("offload_up", text, value=float(told["up"]))
    answers = CounterMetricFamily(
        "offload_answers", "Answers by the server, by this device, and here as the server failed.", None, ["end"]
    )
    for end, count in told["ends"].items():
        answers.add_metric([end], count)
    yield answers
    yield CounterMetricFamily("offload_sent_bytes", "Bodies of requests to the server.", value=told["bytes"])


def _schedule(tasks: dict[str, dict[str, float]]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    if not tasks:
        return
    rates = GaugeMetricFamily("task_rate_hertz", "Answers a second that a task is asked for now.", labels=["task"])
    met = CounterMetricFamily("deadlines_met", "Answers in time.", labels=["task"])
    missed = CounterMetricFamily("deadline_misses", "Answers that came late or never.", labels=["task"])
    for task, known in tasks.items():
        rates.add_metric([task], known["rate_hz"])
        met.add_metric([task], known["met"])
        missed.add_metric([task], known["missed"])
    yield from (rates, met, missed)


def _of_exits(exits: dict[str, dict[str, Any]]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    if not exits:
        return
    labels = ["task", "exit"]
    counters = {
        "reached": CounterMetricFamily("exit_reached", "Frames for which an early exit was computed.", None, labels),
        "taken": CounterMetricFamily("exit_taken", "Frames that were sure enough to take it.", None, labels),
        "audited": CounterMetricFamily("exit_audited", "Frames that ran to the end to see its promise.", None, labels),
        "disagreed": CounterMetricFamily("exit_disagreed", "Audited frames answered otherwise.", None, labels),
    }
    is_open = GaugeMetricFamily("exit_open", "Whether frames may take it; 0: its promise was refuted.", None, labels)
    for name, known in exits.items():
        for key, family in counters.items():
            family.add_metric([known["task"], name], known[key])
        is_open.add_metric([known["task"], name], float(known["open"]))
    yield from (*counters.values(), is_open)
    if watched := {name: known for name, known in exits.items() if "drifted" in known}:
        drifted = GaugeMetricFamily("exit_drifted", "Whether far frames come more often than promised.", None, labels)
        for name, known in watched.items():
            drifted.add_metric([known["task"], name], float(known["drifted"]))
        yield drifted
