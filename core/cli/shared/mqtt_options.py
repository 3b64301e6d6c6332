"""Options of the commands that talk to an MQTT broker."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.runtime.mqtt.broker import Broker

# As in multigraft.runtime.mqtt.broker, without what that loads.
PREFIX = "multigraft"
DISCOVERY = "homeassistant"


def add_broker_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which broker, and as whom."""
    parser.add_argument(
        "--mqtt", metavar="URL", help="an MQTT broker: mqtt://user@broker, or mqtts:// for an encrypted connection"
    )
    parser.add_argument("--mqtt-password-file", type=Path, metavar="FILE", help="holds that user's password")
    parser.add_argument(
        "--mqtt-ca", type=Path, metavar="FILE", help="certificates to trust, PEM (default: those of the system)"
    )


def add_topic_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where things are told."""
    parser.add_argument(
        "--mqtt-prefix", default=PREFIX, metavar="TOPIC", help=f"what topics begin with (default: {PREFIX})"
    )
    parser.add_argument(
        "--mqtt-discovery",
        default=DISCOVERY,
        metavar="TOPIC",
        help=f"where Home Assistant looks for devices (default: {DISCOVERY})",
    )


def broker_of(options: argparse.Namespace) -> Broker | None:
    """The broker that was asked for; None without.

    Raises:
        UsageError: The address is none, or options belong to a broker that is not named.
    """
    from multigraft.runtime.mqtt.broker import Broker

    prefix, discovery = getattr(options, "mqtt_prefix", PREFIX), getattr(options, "mqtt_discovery", DISCOVERY)
    if options.mqtt is not None:
        return Broker.parse(options.mqtt, options.mqtt_password_file, options.mqtt_ca, prefix, discovery)
    is_usual = (prefix, discovery) == (PREFIX, DISCOVERY)
    if options.mqtt_password_file is not None or options.mqtt_ca is not None or not is_usual:
        raise UsageError("options of MQTT without a broker", "name it: --mqtt mqtt://broker")
    return None


def broker_words(options: argparse.Namespace) -> list[str]:
    """The same as words of a command line, without the password's file."""
    if options.mqtt is None:
        return []
    words = ["--mqtt", options.mqtt]
    if options.mqtt_ca is not None:
        words += ["--mqtt-ca", str(options.mqtt_ca.absolute())]
    for name, usual in (("mqtt_prefix", PREFIX), ("mqtt_discovery", DISCOVERY)):
        if getattr(options, name) != usual:
            words += [f"--{name.replace('_', '-')}", getattr(options, name)]
    return words
