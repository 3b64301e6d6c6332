"""What ``multigraft build --split auto`` prints: every way of answering a task on a link, and which one was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.table import print_table

if TYPE_CHECKING:
    from multigraft.converters.offload.choosing import TriedSplits


def choices_to_json(tried: Sequence[TriedSplits]) -> dict[str, Any]:
    """Task to its choice, and all that was measured."""
    return {
        one.task: {
            "choice": vars(one.choice),
            "server_measured": "there" if one.is_server else "here",
            "splits": [{**split.to_json(), "total_us": split.total_us} for split in one.splits],
            "rejected": [{"cut": c, "bits": b, "agreement": value} for (c, b), value in one.rejected.items()],
        }
        for one in tried
    }


def print_choices(tried: Sequence[TriedSplits], served: Sequence[Path]) -> None:
    """A table and a sentence for each task.

    Args:
        tried: What was found.
        served: Folders of models that were written for a server.
    """
    head = ("what travels", "bits", "bytes", "edge (us)", "edge (µJ)", "link (us)", "server (us)", "total (us)", "")
    for one in tried:
        choice, rows = one.choice, []
        for s in one.splits:
            mark = "chosen" if (s.cut, s.bits) == (choice.cut, choice.bits) else ""
            if (value := one.rejected.get((s.cut, s.bits))) is not None:
                mark = f"agrees on {100 * value:.1f} %"
            figures = (s.edge_us, s.edge_j * 1e6, s.link_us, s.server_us or 0.0, s.total_us)
            places = (0, 1, 0, 0, 0)
            shown = (f"{figure:,.{n}f}" for figure, n in zip(figures, places, strict=True))
            rows.append((s.cut, str(s.bits), f"{s.bytes_sent:,.0f}", *shown, mark))
        if one.splits:
            local = f"{choice.local_us:,.0f}"
            whole = f"{one.splits[0].local_j * 1e6:,.1f}"
            mark = "chosen" if choice.is_local else ""
            rows.append(("nothing (all local)", "", "0", local, whole, "0", "0", local, mark))
        print_table(f"{one.task} on {choice.link}", head, rows)
        where = "on the server" if one.is_server else "on this machine"
        print(f"Edge times are this machine's, those of the server were measured {where}; the link is computed.")
        if choice.is_local:
            print(f"{one.task} stays local: nothing that keeps its agreement is answered sooner over {choice.link}.")
        else:
            print(
                f"{one.task} sends {choice.cut} in {choice.bits} bits; together they answer as the original on "
                f"{100 * (choice.agreement or 0):.1f} % of {choice.frames:,} frames."
            )
    if tried:
        print("Energy is an estimate of what the device computes (table 45nm); coding and radio are not in it.")
    for folder in served:
        print(f"Wrote {folder}.")
    if not served and any(not one.choice.is_local for one in tried):
        print("--repository FOLDER writes what the server loads.")
