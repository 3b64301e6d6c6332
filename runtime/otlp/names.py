"""Prometheus' families under OpenTelemetry's names, so that both tell the very same figures.

Names of the hardware are those of the semantic conventions (hardware: common, host, temperature, cpu; system: process),
in development there. What they have no name for begins with ``multigraft.``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from multigraft.devices.power.pmic_meter import BOARD
from multigraft.devices.power.rails import WHOLE_MACHINE

Kind = Literal["counter", "gauge", "updown", "histogram"]

NAMES: Mapping[str, tuple[str, str]] = {
    "inference_seconds": ("multigraft.inference.duration", "s"),
    "inference_requests": ("multigraft.inference.requests", "{request}"),
    "frames": ("multigraft.frame.answered", "{frame}"),
    "dropped_frames": ("multigraft.frame.dropped", "{frame}"),
    "frame_rate": ("multigraft.frame.rate", "{frame}/s"),
    "camera_up": ("multigraft.camera.up", "1"),
    "camera_losses": ("multigraft.camera.losses", "{loss}"),
    "temperature_celsius": ("hw.temperature", "Cel"),
    "resident_memory_bytes": ("process.memory.usage", "By"),
    "open_descriptors": ("process.unix.file_descriptor.count", "{file_descriptor}"),
    "errors": ("multigraft.errors", "{error}"),
    "task_rate_hertz": ("multigraft.task.rate", "{answer}/s"),
    "deadlines_met": ("multigraft.deadline.met", "{answer}"),
    "deadline_misses": ("multigraft.deadline.missed", "{answer}"),
    "exit_reached": ("multigraft.exit.reached", "{frame}"),
    "exit_taken": ("multigraft.exit.taken", "{frame}"),
    "exit_audited": ("multigraft.exit.audited", "{frame}"),
    "exit_disagreed": ("multigraft.exit.disagreed", "{frame}"),
    "exit_open": ("multigraft.exit.open", "1"),
    "exit_drifted": ("multigraft.exit.drifted", "1"),
    "mqtt_up": ("multigraft.mqtt.up", "1"),
    "mqtt_messages": ("multigraft.mqtt.messages", "{message}"),
    "mqtt_dropped_events": ("multigraft.mqtt.dropped_events", "{event}"),
    "mqtt_losses": ("multigraft.mqtt.losses", "{loss}"),
    "mqtt_foreign_messages": ("multigraft.mqtt.foreign_messages", "{message}"),
    "offload_up": ("multigraft.offload.up", "1"),
    "offload_answers": ("multigraft.offload.answers", "{answer}"),
    "offload_sent_bytes": ("multigraft.offload.sent", "By"),
    "http_refused": ("multigraft.http.refused", "{request}"),
    "otlp_up": ("multigraft.otlp.up", "1"),
    "otlp_exports": ("multigraft.otlp.exports", "{export}"),
}
"""Family to name and unit (UCUM). Energy, power and throttling have functions of their own."""
LABELS = {
    "kind": "error.type",
    "camera": "multigraft.camera.name",
    "tasks": "multigraft.camera.tasks",
    "exit": "multigraft.exit.name",
}
"""Label to attribute; others get ``multigraft.`` before them."""
_UP_AND_DOWN = ("resident_memory_bytes", "open_descriptors")
_ATTRIBUTES = {"temperature_celsius": {"hw.id": "hottest thermal zone"}}
_BEHIND = {"cpu": ("CPU", "PACKAGE"), "gpu": ("GPU",), "memory": ("DDR", "VDDQ", "VDD2", "DRAM")}
_STATES = ("ok", "degraded")


@dataclass(frozen=True)
class Point:
    """One value; a histogram has its counts besides.

    Attributes:
        attributes: What it is of.
        value: It; of a histogram the sum.
        bounds: Upper ones of a histogram's buckets, inclusive, without infinity.
        counts: In each bucket, of which the last has no bound.
    """

    attributes: Mapping[str, str]
    value: float
    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Series:
    """One metric, as it is told.

    Attributes:
        name: Of OpenTelemetry.
        unit: As UCUM writes it.
        text: What it means.
        kind: Of instrument.
        points: Its values.
        family: Prometheus' name.
    """

    name: str
    unit: str
    text: str
    kind: Kind
    points: tuple[Point, ...]
    family: str


def renamed(families: Iterable[Any]) -> Iterator[Series]:
    """The metrics; those without a value are left out.

    Args:
        families: Prometheus' (``prometheus_client.Metric``).
    """
    for family in families:
        if family.type == "info" or not family.samples:
            continue
        if family.name == "energy_joules":
            yield from _of_rails(family, "energy", "J", "counter")
        elif family.name == "power_watts":
            yield from _of_rails(family, "power", "W", "gauge")
        elif family.name == "throttled":
            yield _status(family)
        else:
            name, unit = NAMES.get(family.name, (f"multigraft.{family.name}", family.unit or "1"))
            kind: Kind = "updown" if family.name in _UP_AND_DOWN else family.type
            points = _histograms(family) if kind == "histogram" else _numbers(family)
            yield Series(name, unit, family.documentation, kind, tuple(points), family.name)


def described(families: Iterable[Any]) -> dict[str, str]:
    """What is served, as attributes of the resource: ``multigraft.bundle.sha256`` and others."""
    return {
        f"multigraft.{family.name}.{label}": text
        for family in families
        if family.type == "info"
        for sample in family.samples
        for label, text in sample.labels.items()
    }


def type_of(rail: str) -> str:
    """``hw.type`` of what a rail feeds: a well-known value where its name tells, else ``power_rail``."""
    words = set(re.split(r"[^A-Z0-9]+", rail.upper()))
    kinds = [kind for kind, names in _BEHIND.items() if words & set(names)]
    return kinds[0] if len(kinds) == 1 and "+" not in rail else "power_rail"


def _of_rails(family: Any, what: str, unit: str, kind: Kind) -> Iterator[Series]:
    """The whole machine apart from its parts: the conventions forbid ``hw.energy`` for it, so that nobody adds them."""
    whole: list[Point] = []
    parts: list[Point] = []
    for sample in family.samples:
        rail, source = sample.labels["rail"], sample.labels["source"]
        known = {"hw.id": rail, "multigraft.source": source}
        if rail in WHOLE_MACHINE or rail == BOARD:
            whole.append(Point(known, sample.value))
        else:
            parts.append(Point({**known, "hw.type": type_of(rail)}, sample.value))
    for name, points in ((f"hw.host.{what}", whole), (f"hw.{what}", parts)):
        if points:
            yield Series(name, unit, family.documentation, kind, tuple(points), family.name)


def _status(family: Any) -> Series:
    """``hw.status``: 1 for the state that the processor is in, 0 for others."""
    now = _STATES[bool(family.samples[0].value)]
    known = {"hw.id": "cpu", "hw.type": "cpu"}
    points = tuple(Point({**known, "hw.state": state}, float(state == now)) for state in _STATES)
    return Series("hw.status", "1", family.documentation, "updown", points, family.name)


def _numbers(family: Any) -> Iterator[Point]:
    for sample in family.samples:
        yield Point({**_named(sample.labels), **_ATTRIBUTES.get(family.name, {})}, sample.value)


def _histograms(family: Any) -> Iterator[Point]:
    groups: dict[tuple[tuple[str, str], ...], tuple[list[tuple[float, int]], list[float]]] = {}
    for sample in family.samples:
        labels = {name: text for name, text in sample.labels.items() if name != "le"}
        buckets, sums = groups.setdefault(tuple(labels.items()), ([], []))
        if "le" in sample.labels:
            buckets.append((float(sample.labels["le"]), int(sample.value)))
        elif sample.name.endswith("_sum"):
            sums.append(sample.value)
    for key, (buckets, sums) in groups.items():
        # Prometheus counts all up to a bound, OpenTelemetry those between two.
        totals = [count for _, count in buckets]
        counts = tuple(total - before for before, total in zip([0, *totals], totals, strict=False))
        bounds = tuple(bound for bound, _ in buckets[:-1])
        yield Point(_named(dict(key)), sums[0], bounds, counts)


def _named(labels: Mapping[str, str]) -> dict[str, str]:
    return {LABELS.get(name, f"multigraft.{name}"): text for name, text in labels.items()}
