"""Options of ``multigraft build`` that cut tasks for a server, and what is written for that server."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.offloading.offload_options import add_server_arguments, check_server_named, connected
from multigraft.cli.shared.settings_options import check_folder
from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.converters.build import Built
    from multigraft.converters.job.progress import Report
    from multigraft.converters.settings.offload_settings import OffloadSettings
    from multigraft.runtime.offload.inference_client import InferenceClient


def add_split_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where tasks are cut, for which link and which server."""
    parser.add_argument(
        "--split",
        choices=("none", "auto"),
        help="auto: cut tasks where a server answers soonest over --link, where it does before the device; the bundle "
        "says so to multigraft run --offload",
    )
    parser.add_argument("--link", metavar="RATE[,ROUNDTRIP]", help="the link to the server: 5mbit,20ms")
    add_server_arguments(
        parser, "with --split auto: the server to time, one that loads models which are sent to it; else this machine"
    )
    parser.add_argument(
        "--repository", type=Path, metavar="FOLDER", help="with --split auto: write there what the server loads"
    )


def split_settings(options: argparse.Namespace, settings: OffloadSettings) -> OffloadSettings:
    """The table ``[offload]`` with the options over it.

    Raises:
        UsageError: The link is none, or options belong to a split that is not asked for.
    """
    from multigraft.runtime.offload.link import Link

    split = options.split or settings.split
    if options.link is not None:
        Link.parse(options.link)
    given = {"--link": options.link, "--offload": options.offload, "--repository": options.repository}
    if split == "none":
        for name, value in given.items():
            if value is not None:
                raise UsageError(f"{name} is of --split auto", "add it, or leave it out")
    check_server_named(options)
    return dataclasses.replace(settings, split=split, link=options.link or settings.link)


def splitting_server(options: argparse.Namespace, settings: OffloadSettings) -> InferenceClient | None:
    """The server to time, and whether there is room for what it will load.

    Raises:
        UsageError: The address is none, or the folder cannot be written.
    """
    if settings.split == "none":
        return None
    if options.repository is not None:
        check_folder(options.repository)
    return None if options.offload is None else connected(options)


def write_tails(options: argparse.Namespace, built: Built, report: Report) -> list[Path]:
    """Write the rest of every task that was cut, for a server; the folders of the models."""
    if options.repository is None or built.floating is None:
        return []
    from multigraft.converters.offload.repository import is_of, write_repository
    from multigraft.converters.offload.tail import make_tail
    from multigraft.runtime.offload.wire import model_name

    written: list[Path] = []
    for one in built.splits:
        if one.choice.is_local:
            continue
        manifest = built.bundle.manifest
        # The name holds the digest of the device's part, and not which of its tensors travels.
        there = options.repository / model_name(manifest, one.task, one.choice.cut)
        if is_of(there, manifest, one.task, one.choice.cut):
            report(f"note: {there} is there already")
            continue
        report(f"write what the server loads for {one.task}" + (", anew" if there.exists() else ""))
        tail = make_tail(built.bundle, built.floating, one.task, one.choice.cut)
        written += write_repository(options.repository, manifest, tail, anew=True)
    return written
