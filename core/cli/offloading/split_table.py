"""What ``multigraft bench --link`` prints: every cut point of every task on a link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from multigraft.cli.offloading.offload_options import offloadable
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.table import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multigraft.runtime import Engine

MOST_FRAMES = 16


def print_splits(
    engine: Engine,
    tasks: Sequence[str] | None,
    frames: list[Any],
    runs: int,
    warmup: int,
    link_text: str,
    is_json: bool,
) -> None:
    """Measure and print.

    Args:
        engine: Runs the bundle here.
        tasks: Which; None for all.
        frames: Pictures or rows for all tasks.
        runs: Frames measured.
        warmup: Before that.
        link_text: As ``--link`` has it.
        is_json: One object in place of tables.

    Raises:
        UsageError: The link is none, no task can be offloaded, or there is nothing to measure on.
    """
    from multigraft.runtime.benchmark import measure_latency
    from multigraft.runtime.offload.link import Link
    from multigraft.runtime.offload.split_choice import splits_of

    link = Link.parse(link_text)
    told = {}
    for name in offloadable(engine, tasks):
        own = [frame[name] if isinstance(frame, dict) else frame for frame in frames]
        timing = measure_latency(engine, own, (name,), runs, warmup)
        told[name] = splits_of(engine, name, own[:MOST_FRAMES], timing, link)
    if is_json:
        plain = {name: [split.to_json() for split in splits] for name, splits in told.items()}
        print(json_text({"link": vars(link), "splits": plain}, indent=1))
        return
    head = ("cut", "bits", "bytes", "edge (us)", "edge (µJ)", "link (us)", "server may take (us)")
    for name, splits in told.items():
        rows = [
            (s.cut, str(s.bits), f"{s.bytes_sent:,.0f}", f"{s.edge_us:,.0f}", f"{s.edge_j * 1e6:,.1f}",
             f"{s.link_us:,.0f}",
             f"{s.server_may_take_us:,.0f}" if s.server_may_take_us > 0 else "local is faster")
            for s in splits
        ]  # fmt: skip
        local = f"{splits[0].local_us:,.0f} us and {splits[0].local_j * 1e6:,.1f} µJ"
        print_table(f"{name} on {link_text}; the local answer takes {local}", head, rows)
    print("Energy is an estimate of what runs here (table 45nm); coding and radio are not in it.")
