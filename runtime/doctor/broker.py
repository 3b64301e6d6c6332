"""Whether an MQTT broker answers."""

from __future__ import annotations

from collections.abc import Callable

from multigraft.errors import MultigraftError
from multigraft.runtime.doctor.finding import Finding
from multigraft.runtime.doctor.system import System
from multigraft.runtime.mqtt.broker import Broker
from multigraft.runtime.mqtt.connection import probe


def check_broker(broker: Broker) -> Callable[[System], list[Finding]]:
    """A check that connects to it."""

    def check_mqtt(system: System) -> list[Finding]:
        private = tuple(filter(None, (broker.host, broker.user)))
        try:
            probe(broker)
        except MultigraftError as error:
            return [Finding("MQTT broker", "wrong", error.problem, error.remedy or "look at its log", private)]
        return [Finding("MQTT broker", "ok", f"{broker} answers", "", private)]

    return check_mqtt
