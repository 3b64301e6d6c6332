"""``multigraft service``: the service under systemd."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.serving.serve import add_serving_arguments, check_serving
from multigraft.cli.shared.bundle_sources import add_source_argument
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.mqtt_options import broker_of, broker_words
from multigraft.cli.shared.quiet_options import quiet_words
from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.runtime.service.front import Address

NAME = "multigraft"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands."""
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    install = steps.add_parser("install", help="write the unit, start it now and with the system (as root)")
    install.add_argument(
        "bundle", nargs="?", type=Path, help="is put into the state folder (default: what was deployed there)"
    )
    add_source_argument(install, "camera")
    add_serving_arguments(install)
    install.add_argument("--user", metavar="NAME", help="whose rights it has (default: a user made for it by systemd)")
    install.add_argument("--print", action="store_true", dest="only_print", help="print the unit and do nothing")
    status = steps.add_parser("status", help="whether it runs, how fast, and how often it was started again")
    logs = steps.add_parser("logs", help="what it said")
    logs.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="the last N lines (default: 50)")
    logs.add_argument("-f", "--follow", action="store_true", help="and those to come")
    uninstall = steps.add_parser("uninstall", help="stop it and remove the unit (as root)")
    uninstall.add_argument("--purge", action="store_true", help="remove its bundles and its token, too")
    for step in (install, status, logs, uninstall):
        step.add_argument("--name", default=NAME, metavar="UNIT", help=f"of the service (default: {NAME})")
        # Without a default of its own it would undo a --json given before the step.
        step.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")


def execute(options: argparse.Namespace) -> int:
    """Run the sub-command."""
    if not options.name or set(options.name) - set("abcdefghijklmnopqrstuvwxyz0123456789-_"):
        raise UsageError(f"--name is {options.name!r}", "use small letters, digits, - and _")
    return {"install": _install, "status": _status, "logs": _logs, "uninstall": _uninstall}[options.step](options)


def _install(options: argparse.Namespace) -> int:
    from multigraft.devices.cameras.addresses import host_of
    from multigraft.runtime.http.guard import is_loopback
    from multigraft.runtime.otlp.environment import endpoint_of, is_wanted, read_defaults
    from multigraft.runtime.service import installation
    from multigraft.runtime.service.front import Address
    from multigraft.runtime.service.unit import Unit

    check_serving(options)
    broker = broker_of(options)
    sources = options.source or ["camera"]
    listen = None if options.listen == "none" else Address.parse(options.listen)
    needed = [Path(path) for source in sources if (path := source.partition("=")[2] or source) and Path(path).exists()]
    variables = read_defaults(installation.DEFAULTS / options.name)
    hosts = [host_of(source) for source in sources]
    hosts += [] if broker is None else [broker.host]
    hosts += [host_of(endpoint_of(variables))] if is_wanted(variables) else []
    if options.mqtt_ca is not None:
        needed.append(options.mqtt_ca)
    unit = Unit(
        options.name,
        tuple(_arguments(options, sources)),
        options.user,
        listen is None or is_loopback(listen.host),
        tuple(path.absolute() for path in needed),
        options.token_file.absolute() if options.token_file else None,
        options.mqtt_password_file.absolute() if options.mqtt_password_file else None,
        all(is_loopback(host) for host in hosts if host),
    )
    if options.only_print:
        sys.stdout.write(unit.text())
        return 0
    path = installation.install(unit, options.bundle)
    told = {"unit": str(path), "address": None if listen is None else f"http://{listen}"}
    if options.json:
        print(json_text(told))
    else:
        print(f"Wrote {path} and started it; see: multigraft service status")
        if listen is not None:
            print(f"Live page: http://{listen}{_token_hint(options, listen)}")
    return 0


def _token_hint(options: argparse.Namespace, listen: Address) -> str:
    from multigraft.runtime.service.installation import STATES
    from multigraft.runtime.service.settings import token_path

    path = token_path(listen, options.state or STATES / options.name, options.token_file)
    return "" if path is None else f"/?token=…, with the token in {path.absolute()}"


def _arguments(options: argparse.Namespace, sources: list[str]) -> list[str]:
    words = []
    for source in sources:
        task, separator, rest = source.partition("=")
        path = rest if separator else source
        # The service's working folder is another one.
        spelt = str(Path(path).absolute()) if Path(path).exists() else path
        words += ["--source", f"{task}={spelt}" if separator else spelt]
    words += ["--listen", options.listen]
    if options.state is not None:
        words += ["--state", str(options.state.absolute())]
    if options.tasks is not None:
        words += ["--tasks", options.tasks]
    for rate in options.rate:
        words += ["--rate", rate]
    for name in ("max_power", "max_temperature", "max_memory"):
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    words += [*broker_words(options), *quiet_words(options)]
    words += ["--threads", str(options.threads), "--backend", options.backend]
    words += [
        f"--{name.replace('_', '-')}" for name in ("allow_miss", "no_self_test", "untrusted") if getattr(options, name)
    ]
    return words


def _status(options: argparse.Namespace) -> int:
    from multigraft.runtime.service.installation import status

    told = status(options.name)
    if options.json:
        print(json_text(told))
    else:
        print(f"{options.name}: {told.get('ActiveState', 'unknown')} ({told.get('SubState', '')})")
        if told.get("StatusText"):
            print(told["StatusText"])
        print(f"started again {told.get('NRestarts', '?')} times")
    return 0 if told.get("ActiveState") == "active" else 1


def _logs(options: argparse.Namespace) -> int:
    from multigraft.runtime.service.installation import logs

    return logs(options.name, options.lines, options.follow)


def _uninstall(options: argparse.Namespace) -> int:
    from multigraft.runtime.service.installation import uninstall

    uninstall(options.name, options.purge)
    if not options.json:
        print(f"{options.name} is stopped and removed.")
    return 0
