"""``--mqtt`` of a command that answers frames: a broker is told, as by the service."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.mqtt_options import broker_of
from multigraft.cli.shared.quiet_options import rule_of
from multigraft.cli.shared.watched import Watched, digest_of_bundle

if TYPE_CHECKING:
    from multigraft.runtime import Engine
    from multigraft.runtime.answers import Answer

Tell = Callable[[Mapping[str, "Answer"]], None]
"""Takes a frame's answers, and never waits."""

DRAIN_S = 10.0
"""For a broker to confirm the last of it, when the frames have ended."""
FOLDER = "run"
"""In the state folder: a command is no device of the service's, and one per bundle."""


@contextlib.contextmanager
def broker_told(
    options: argparse.Namespace,
    engine: Engine,
    tasks: tuple[str, ...] | None,
    watched: Watched | None,
    is_up: Callable[[], bool],
) -> Iterator[Tell]:
    """What tells a broker of answers, until the block is left; nobody is told unless ``--mqtt`` names one.

    Args:
        options: As parsed.
        engine: Whose answers are told.
        tasks: Those that are answered; None for all.
        watched: Figures; needed if anybody is told.
        is_up: Whether the camera gives frames.

    Raises:
        ConfigurationError: The password or the certificates cannot be read.
        MissingDependencyError: paho-mqtt is not installed.
        UsageError: The address is none.
    """
    broker = broker_of(options)
    if broker is None or watched is None:
        yield lambda answers: None
        return
    from multigraft.runtime.deploy.store import state_folder
    from multigraft.runtime.mqtt.names import slug
    from multigraft.runtime.mqtt.publisher import Publisher
    from multigraft.runtime.quiet.steady import USUAL

    def figures() -> Mapping[str, Any] | None:
        if not watched.vitals.is_known:
            return None
        return {**watched.vitals.to_json(), "rate_hz": watched.figures.rate_hz, "camera": is_up()}

    def say(is_back: bool, sentence: str) -> None:
        then = "" if is_back else "; it is looked for again"
        print(f"multigraft: MQTT: {sentence.rstrip('.')}{then}.", file=sys.stderr)

    publisher = Publisher(
        broker,
        engine.manifest,
        tasks,
        digest_of_bundle(engine),
        state_folder() / FOLDER / slug(engine.manifest.name),
        figures,
        say,
        rule_of(options, USUAL),
    )
    publisher.start()
    try:
        yield publisher.answered
        is_told = publisher.drain(DRAIN_S)
        if publisher.dropped or not is_told:
            lost = f" ({publisher.dropped} events were dropped)" if publisher.dropped else ""
            print(f"multigraft: MQTT: {broker} was not told everything{lost}.", file=sys.stderr)
    finally:
        publisher.stop()
