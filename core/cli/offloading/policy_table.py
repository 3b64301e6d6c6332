"""What ``multigraft bench --policy`` prints: ways of answering with and without a server, on the same frames."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from multigraft.cli.offloading.offload_options import client_of, deadline_s, offloadable
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.table import print_table
from multigraft.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from multigraft.runtime import Engine
    from multigraft.runtime.energy.estimate import Table


def labelled_frames(options: argparse.Namespace, engine: Engine, task: str) -> tuple[list[Any], list[int]]:
    """As many frames as are asked for, and the right class of each.

    Raises:
        InputError: The file holds none.
    """
    from multigraft.converters.network.labelled import load_labelled
    from multigraft.tensors.preparation import row_shape

    rows = row_shape(engine.manifest.inputs_of(task)[0].preprocessing)
    labelled = load_labelled(options.labelled, task, rows)
    return list(labelled.frames[: options.runs]), [int(label) for label in labelled.labels[: options.runs]]


def comparable(engine: Engine, tasks: Sequence[str] | None) -> list[str]:
    """Classifications that a server could answer.

    Raises:
        UsageError: There is none.
    """
    manifest = engine.manifest
    kinds = {t.name: t.kind for t in manifest.tasks if t.answer is None and t.name not in engine.own}
    found = [name for name in offloadable(engine, tasks) if kinds.get(name) == "classification"]
    if not found:
        raise UsageError("no task answers with a class, which policies are compared by", "name a classification")
    return found


class PolicyTable:
    """Compares policies on one task after the other.

    Args:
        options: As parsed: ``policy``, ``link``, ``table``, ``warmup``, ``json`` and those of the server.

    Raises:
        UsageError: A policy is unknown or needs a server that is not named, or the link or the table is none.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        from multigraft.runtime.energy.estimate import table_of
        from multigraft.runtime.offload.link import Link
        from multigraft.runtime.offload.policies import POLICIES

        self._options, self._policies, self._table = options, _policies_of(options.policy), table_of(options.table)
        self._link = None if options.link is None else Link.parse(options.link)
        # One for all: an open token is told of once, and what forms of requests the server takes is asked once.
        self._client = client_of(options)
        if self._client is None and (asking := [name for name in self._policies if POLICIES[name] is not None]):
            raise UsageError(f"policy {asking[0]} asks a server", "name it: --offload http://server:8000")
        self._told: list[dict[str, Any]] = []

    def add(
        self, engine: Engine, early: Engine, task: str, frames: Iterable[Any], labels: Sequence[int] | None
    ) -> None:
        """Measure a task, and print unless all is asked for as JSON.

        Args:
            engine: Without early exits.
            early: With them.
            task: A classification.
            frames: Of that task.
            labels: The right class of each; None where nobody knows.

        Raises:
            UsageError: There are no frames.
            ExchangeError: The server is not there, or has no model for a policy.
        """
        from multigraft.runtime.offload.offloading import Offloading
        from multigraft.runtime.offload.policies import CONDITIONAL, JPEGS, POLICIES, compare_policies
        from multigraft.runtime.offload.ranges import MOST_BITS

        options, client = self._options, self._client

        def connect(one: Engine, policy: str) -> Offloading:
            sends = POLICIES[policy]
            assert client is not None and sends is not None
            below = options.offload_below if policy == CONDITIONAL else None
            bits = MOST_BITS if policy in JPEGS else options.offload_bits
            offloading = Offloading(one, [task], client, deadline_s(options), below, bits, sends)
            offloading.reach()
            return offloading

        tallies = compare_policies(
            self._policies, engine, early, task, frames, connect,
            labels=labels, link=self._link, table=self._table, warmup=options.warmup,
        )  # fmt: skip
        figures = [tally.to_json() for tally in tallies]
        if not options.json:
            _print(options, engine, task, figures, self._table)
        self._told.append({"task": task, "frames": tallies[0].frames, "policies": figures})

    def print_json(self, engine: Engine) -> None:
        """All tasks, and what they were measured with, as one object."""
        from multigraft.runtime.machine import Machine

        measured = {
            "machine": Machine.here(engine.model.backend).to_json(),
            "link": None if self._link is None else vars(self._link),
            "server": self._options.offload,
            "table": self._table.name,
        }
        print(json_text({**measured, "tasks": self._told}, indent=1))


def _policies_of(text: str) -> list[str]:
    """Names of policies, as ``--policy`` has them."""
    from multigraft.runtime.offload.policies import POLICIES

    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in POLICIES:
            raise UsageError(f"there is no policy {name!r}", f"choose from: {', '.join(POLICIES)}")
    return names


def _print(
    options: argparse.Namespace, engine: Engine, task: str, figures: Sequence[dict[str, Any]], table: Table
) -> None:
    from multigraft.runtime.machine import Machine

    is_labelled = figures[0]["accuracy"] is not None
    judged = "accuracy" if is_labelled else "agreement"
    head = ("policy", judged, "exits", "from the server", "bytes sent", "time (ms), median", "p90", "device (µJ)")
    rows = [
        (
            f["policy"],
            *(f"{100 * f[share]:.1f} %" for share in (judged, "exit_rate", "server_rate")),
            f"{f['bytes_sent']:,.0f}",
            *(f"{f['time_us'][p] / 1000:,.2f}" for p in ("p50", "p90")),
            f"{f['estimated_device_energy_j'] * 1e6:,.1f}",
        )
        for f in figures
    ]
    over = f" over {options.link}" if options.link else ""
    print_table(f"{task}: {figures[0]['frames']} frames by each policy{over}, a frame each", head, rows)
    for figure in figures:
        for why, count in figure["local_because"].items():
            print(f"{figure['policy']}: {count:,} of {figure['frames']:,} answers local ({why}).")
    if any(figure["policy"].startswith("send-jpeg") for figure in figures):
        print("JPEG needs a server that decodes it: here the device did, and sent the pixels; bytes are of the files.")
    of = "the labels" if is_labelled else "the answers of the whole network on this device"
    print(f"Compared with {of}. Machine: {Machine.here(engine.model.backend)}, {options.threads} threads.")
    if options.link:
        print("Times on the link are computed from the bytes of requests; server and device were measured.")
    print(f"Energy is an estimate of what the device computes (table {table.name}); the radio is not in it.")
