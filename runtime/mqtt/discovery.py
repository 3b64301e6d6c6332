"""What Home Assistant is told of a device: one retained message an entity.

Keys: home-assistant.io/integrations/mqtt (discovery), sensor.mqtt, binary_sensor.mqtt and event.mqtt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import multigraft
from multigraft.bundle.manifest import Manifest, Task
from multigraft.reading import printable
from multigraft.runtime.mqtt.names import slug

MOST_CLASSES = 32
"""A detector of more has no sensor of each; how many there are of which stands in the attributes."""
MOST_NUMBERS = 16
"""Of a regression; the same."""
EVENTS = ("appears", "vanishes")

ONLINE, OFFLINE = "online", "offline"
_MEASURED = {"state_class": "measurement"}
_DIAGNOSTIC = {"entity_category": "diagnostic"}


@dataclass(frozen=True)
class Topics:
    """Where things are told.

    Attributes:
        node: Of this service.
        prefix: All topics of states begin with it.
        discovery: Where Home Assistant looks.
    """

    node: str
    prefix: str
    discovery: str

    @property
    def availability(self) -> str:
        """``online``, or ``offline`` by the broker itself when the service is gone."""
        return f"{self.prefix}/{self.node}/availability"

    @property
    def figures(self) -> str:
        """Of the machine, as JSON."""
        return f"{self.prefix}/{self.node}/figures"

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.discovery}/status"

    def task(self, name: str) -> str:
        """A task's answer, as JSON."""
        return f"{self.prefix}/{self.node}/task/{slug(name)}"

    def event(self, name: str) -> str:
        """What changed in a task's answers, as JSON."""
        return f"{self.prefix}/{self.node}/event/{slug(name)}"

    def config(self, component: str, entity: str) -> str:
        """An entity's description."""
        return f"{self.discovery}/{component}/{self.node}/{entity}/config"


def counted_classes(task: Task) -> tuple[str, ...]:
    """Classes whose boxes are counted by sensors of their own."""
    is_counted = task.kind == "detection" and 0 < len(task.labels) <= MOST_CLASSES
    return tuple(dict.fromkeys(task.labels)) if is_counted else ()


def numbers_of(manifest: Manifest, task: Task) -> int:
    """How many numbers a task gives that have sensors of their own."""
    if task.on is not None or task.answer is not None or task.kind not in ("regression", "landmarks"):
        return 0
    count = sum(math.prod(manifest.tensor(name).shape[1:]) for name in task.outputs)
    return count if count <= MOST_NUMBERS and len(task.joined or task.outputs) == 1 else 0


def configurations(
    topics: Topics, manifest: Manifest, tasks: tuple[str, ...], sha256: str, figures: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Topic to the description of an entity.

    Args:
        topics: Of this service.
        manifest: Of the bundle.
        tasks: Those that are answered.
        sha256: Of the bundle.
        figures: What :func:`multigraft.runtime.mqtt.states.machine` tells; absent figures have no entity.
    """
    name = printable(manifest.name) or "multigraft"
    common = {
        "availability_topic": topics.availability,
        "device": {
            "identifiers": [topics.node],
            "name": name,
            "manufacturer": "multigraft",
            "model": f"bundle {name}",
            "sw_version": multigraft.__version__,
            "hw_version": f"sha256 {sha256}",
        },
        "origin": {"name": "multigraft", "sw_version": multigraft.__version__},
    }
    found = [*_of_machine(topics, figures)]
    for task in tasks:
        found += _of_task(topics, manifest, manifest.task(task))
    return {
        topics.config(component, entity): {**own, "unique_id": f"{topics.node}_{entity}", **common}
        for component, entity, own in found
    }


_Entity = tuple[str, str, dict[str, Any]]


def _of_task(topics: Topics, manifest: Manifest, task: Task) -> Iterator[_Entity]:
    shown, entity, topic = printable(task.name), f"task_{slug(task.name)}", topics.task(task.name)
    yield (
        "sensor",
        entity,
        {
            "name": shown,
            "state_topic": topic,
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": topic,
            "json_attributes_template": "{{ value_json.attributes | tojson }}",
        },
    )
    if task.kind in ("classification", "detection") or task.answer is not None:
        event = {"name": f"{shown} event", "state_topic": topics.event(task.name), "event_types": list(EVENTS)}
        yield "event", f"{entity}_event", event
    for label in counted_classes(task):
        # Labels are anybody's: what stands in a template is made of letters, digits and _ alone.
        template = "{{ value_json.counts['" + slug(label) + "'] }}"
        own = {"name": f"{shown} {printable(label)}", "state_topic": topic, "value_template": template, **_MEASURED}
        yield "sensor", f"{entity}_count_{slug(label)}", own
    for number in range(count := numbers_of(manifest, task)):
        name = f"{shown} value" if count == 1 else f"{shown} value {number + 1}"
        template = "{{ value_json.numbers[" + str(number) + "] }}"
        yield (
            "sensor",
            f"{entity}_value_{number + 1}",
            {"name": name, "state_topic": topic, "value_template": template, **_MEASURED},
        )


def _of_machine(topics: Topics, figures: Mapping[str, Any]) -> Iterator[_Entity]:
    def sensor(key: str, name: str, **more: Any) -> _Entity:
        own = {"name": name, "state_topic": topics.figures, "value_template": "{{ value_json." + key + " }}"}
        return "sensor", key, {**own, **more}

    yield sensor("frame_rate", "frame rate", unit_of_measurement="frames/s", **_MEASURED, **_DIAGNOSTIC)
    if "temperature" in figures:
        own = {"device_class": "temperature", "unit_of_measurement": "°C", **_MEASURED, **_DIAGNOSTIC}
        yield sensor("temperature", "temperature", **own)
    for key, rail in figures.get("rails", {}).items():
        shown = printable(rail)
        yield sensor(
            f"energy_{key}",
            f"energy {shown}",
            device_class="energy",
            unit_of_measurement="Wh",
            state_class="total_increasing",
        )
        yield sensor(f"power_{key}", f"power {shown}", device_class="power", unit_of_measurement="W", **_MEASURED)
    for key, device_class in (("camera", "connectivity"), ("throttled", "problem")):
        if key in figures:
            own = {"name": key, "state_topic": topics.figures, "value_template": "{{ value_json." + key + " }}"}
            yield "binary_sensor", key, {**own, "device_class": device_class, **_DIAGNOSTIC}
