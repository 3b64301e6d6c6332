"""``multigraft serve``: answers for as long as the machine runs, over HTTP."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.offloading.offload_options import (
    add_offload_arguments,
    add_sends_argument,
    check_offload,
    deadline_s,
    offloading_of,
)
from multigraft.cli.shared.bundle_sources import add_source_argument, bundle_cameras
from multigraft.cli.shared.engine_options import add_running_arguments, task_names
from multigraft.cli.shared.live_page import LISTEN
from multigraft.cli.shared.mqtt_options import add_broker_arguments, add_topic_arguments, broker_of
from multigraft.cli.shared.quiet_options import add_quiet_arguments, rule_of
from multigraft.cli.shared.rate_options import add_rate_argument
from multigraft.cli.shared.remote_options import add_state_argument
from multigraft.errors import ConfigurationError, UsageError
from multigraft.reading import printable

if TYPE_CHECKING:
    from multigraft.devices.cameras.camera import Camera
    from multigraft.runtime import Engine

MOST_DEADLINE_S = 15.0
"""A service that waits for a server feeds no watchdog (30 s) and does not end when it is asked to (20 s)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "bundle",
        nargs="?",
        type=Path,
        help="a .graft file or a deployed folder (default: the one that multigraft deploy put into the state folder)",
    )
    add_source_argument(parser, "camera")
    add_serving_arguments(parser)


def add_serving_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how to serve."""
    parser.add_argument("--tasks", metavar="A,B", help="answer these tasks only (default: all)")
    add_state_argument(parser)
    parser.add_argument(
        "--listen",
        default=LISTEN,
        metavar="ADDRESS:PORT",
        help=f"where HTTP is spoken, or none; others than this machine need a token (default: {LISTEN})",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds what clients have to know (default: one is made in the state folder if others can ask)",
    )
    add_rate_argument(
        parser, "answer at most N frames a second; repeated with TASK=N, each task at its own rate if this machine can"
    )
    parser.add_argument(
        "--allow-miss", action="store_true", help="start although this machine is too slow for the tasks' rates"
    )
    parser.add_argument(
        "--max-power", metavar="WATTS", help="lower the tasks' rates above this, those of the lowest priority first"
    )
    parser.add_argument(
        "--max-temperature", type=float, metavar="CELSIUS", help="lower the tasks' rates above this, in the same way"
    )
    parser.add_argument(
        "--max-memory",
        type=int,
        metavar="MIB",
        help="end, to be started again, when this is exceeded (default: twice the use after five minutes, and 64)",
    )
    add_offload_arguments(parser)
    add_sends_argument(parser)
    add_broker_arguments(parser)
    add_topic_arguments(parser)
    add_quiet_arguments(parser, "for MQTT: ")
    add_running_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    from multigraft.runtime.deploy.store import state_folder
    from multigraft.runtime.quiet.steady import USUAL
    from multigraft.runtime.scheduling.rates import parse_rates
    from multigraft.runtime.service.front import Address
    from multigraft.runtime.service.serving import serve
    from multigraft.runtime.service.settings import Settings

    sources = options.source or ["camera"]
    try:
        check_serving(options)
        broker = broker_of(options)
        listen = None if options.listen == "none" else Address.parse(options.listen)
        state, tasks = state_folder(options.state), task_names(options.tasks)
    except UsageError as error:
        # Under systemd a wrong option is a wrong configuration, which no restart mends.
        raise ConfigurationError(error.problem, error.remedy) from error
    bare, own = parse_rates(options.rate)
    settings = Settings(
        bundle=options.bundle,
        sources=tuple(sources),
        state=state,
        tasks=tasks,
        listen=listen,
        token_file=options.token_file,
        rate_hz=bare,
        task_rates=own,
        allow_miss=options.allow_miss,
        most_w=watts_of(options.max_power),
        most_c=options.max_temperature,
        most_memory_bytes=None if options.max_memory is None else options.max_memory << 20,
        threads=options.threads,
        backend=options.backend,
        self_test=not options.no_self_test,
        untrusted=options.untrusted,
        broker=broker,
        calm=rule_of(options, USUAL),
    )

    def open_cameras(engine: Engine, tasks: tuple[str, ...] | None) -> dict[tuple[str, ...], Camera]:
        return bundle_cameras(settings.sources, engine.manifest, tasks)

    return serve(settings, open_cameras, lambda engine, tasks: offloading_of(options, engine, tasks))


def check_serving(options: argparse.Namespace) -> None:
    """Refuse numbers that mean nothing.

    Raises:
        UsageError: A rate, power, temperature or memory is not positive, tasks have no rate that could be lowered, or
            answers are to be calm that nobody is told.
    """
    from multigraft.runtime.quiet.steady import Rule
    from multigraft.runtime.scheduling.rates import parse_rates

    if rule_of(options, Rule()) != Rule() and options.mqtt is None:
        raise UsageError("--steady, --enter and --leave are for MQTT", "name a broker: --mqtt mqtt://broker")
    check_offload(options)
    if options.offload is not None and deadline_s(options) > MOST_DEADLINE_S:
        raise UsageError(
            f"--offload-deadline is {1000 * deadline_s(options):g}, for which a service would be taken to hang",
            f"give {1000 * MOST_DEADLINE_S:g} milliseconds at most",
        )
    bare, own = parse_rates(options.rate)
    if options.offload is not None and (own or options.max_power or options.max_temperature):
        raise UsageError(
            "--offload waits for a server, which no rates of tasks and no limits of power foresee",
            "give one rate for all, as in --rate 5",
        )
    watts_of(options.max_power)
    if options.max_temperature is not None and not 0 < options.max_temperature < 200:
        raise UsageError(f"--max-temperature is {options.max_temperature:g}", "give degrees Celsius, as in 75")
    limits = {"--max-power": options.max_power, "--max-temperature": options.max_temperature}
    for name, value in limits.items():
        if value is not None and bare is None and not own:
            raise UsageError(f"{name} lowers rates, and no task has one", "give rates with --rate")
    if options.max_memory is not None and options.max_memory < 1:
        raise UsageError(f"--max-memory is {options.max_memory}", "give at least 1")


def watts_of(text: str | None) -> float | None:
    """``4W``, ``4.5`` or ``500mW`` in watts.

    Raises:
        UsageError: It is no power.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(W|mW|)", text)
    watts = float(found[1]) / (1000 if found[2] == "mW" else 1) if found else 0.0
    if watts <= 0:
        raise UsageError(f"--max-power is {printable(text)}", "give watts, as in 4W")
    return watts
