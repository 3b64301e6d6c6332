"""``multigraft service``: the service under systemd."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.offloading.offload_options import offload_words
from multigraft.cli.serving.serve import add_serving_arguments, check_serving
from multigraft.cli.shared.bundle_sources import add_source_argument
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.mqtt_options import broker_of, broker_words
from multigraft.cli.shared.quiet_options import quiet_words
from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.runtime.service.front import Address
    from multigraft.runtime.service.unit import Secret

NAME = "multigraft"
IN_FILE = "@"  # as in multigraft.devices.cameras.addresses


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
    from multigraft.devices.cameras.addresses import host_of, source_of
    from multigraft.runtime.http.guard import is_loopback
    from multigraft.runtime.offload.server_address import ServerAddress
    from multigraft.runtime.otlp.environment import endpoint_of, has_secrets, is_wanted, read_defaults
    from multigraft.runtime.service import installation
    from multigraft.runtime.service.front import Address
    from multigraft.runtime.service.unit import Unit

    check_serving(options)
    broker = broker_of(options)
    typed = [_task_and_source(text) for text in options.source or ["camera"]]
    sources = [source_of(source) for _, source in typed]
    listen = None if options.listen == "none" else Address.parse(options.listen)
    needed = [Path(source) for source in sources if Path(source).exists()]
    defaults = installation.DEFAULTS / options.name
    variables = read_defaults(defaults)
    hosts = [host_of(source) for source in sources]
    hosts += [] if broker is None else [broker.host]
    hosts += [host_of(endpoint_of(variables))] if is_wanted(variables) else []
    hosts += [] if options.offload is None else [ServerAddress.parse(options.offload).host]
    needed += [path for path in (options.mqtt_ca, options.offload_ca) if path is not None]
    unit = Unit(
        options.name,
        (*_source_words(typed, installation.SECRETS / options.name), *_arguments(options)),
        options.user,
        listen is None or is_loopback(listen.host),
        tuple(path.absolute() for path in needed),
        all(is_loopback(host) for host in hosts if host),
    )
    for path in dict.fromkeys([one.path for one in unit.secrets] + [defaults] * has_secrets(variables)):
        if installation.is_open(path):
            print(f"multigraft: everybody on this machine can read {path}; run: chmod o= {path}", file=sys.stderr)
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


def _task_and_source(text: str) -> tuple[str, str]:
    """``TASK=`` or nothing, and the source behind it."""
    task, separator, source = text.partition("=")
    is_whole = not separator or "://" in task or task.startswith(IN_FILE) or Path(text).exists()
    return ("", text) if is_whole else (f"{task}=", source)


def _source_words(typed: list[tuple[str, str]], beside: Path) -> Iterator[str | Secret]:
    """``--source`` words; an address that lets others in goes into a file, of which systemd tells the service alone."""
    from multigraft.devices.cameras.addresses import has_secret
    from multigraft.runtime.service.unit import Secret

    for number, (task, source) in enumerate(typed):
        yield "--source"
        name, before = f"source-{number}", f"{task}{IN_FILE}"
        if source.startswith(IN_FILE):
            yield Secret(name, Path(source.removeprefix(IN_FILE)).absolute(), before)
        elif has_secret(source):
            yield Secret(name, beside.with_name(f"{beside.name}.{name}"), before, source.encode() + b"\n")
        else:
            # The service's working folder is another one.
            yield task + (str(Path(source).absolute()) if Path(source).exists() else source)


def _arguments(options: argparse.Namespace) -> Iterator[str | Secret]:
    from multigraft.runtime.service.unit import Secret

    words = ["--listen", options.listen]
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
    words += [*offload_words(options), *broker_words(options), *quiet_words(options)]
    words += ["--threads", str(options.threads), "--backend", options.backend]
    words += [
        f"--{name.replace('_', '-')}" for name in ("allow_miss", "no_self_test", "untrusted") if getattr(options, name)
    ]
    yield from words
    secrets = (
        ("token", options.token_file),
        ("offload-token", options.offload_token_file),
        ("mqtt-password", options.mqtt_password_file),
    )
    for name, path in secrets:
        if path is not None:
            yield f"--{name}-file"
            yield Secret(name, path.absolute())


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
