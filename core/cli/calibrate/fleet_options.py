"""What commands over the statistics of many devices share: their options, and what they say of files set aside."""

from __future__ import annotations

import argparse
import csv
import datetime
import io
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.shared.settings_options import check_folder, check_output
from multigraft.visible import visible

if TYPE_CHECKING:
    from multigraft.converters.fleet.gathering import Counted, Gathering
    from multigraft.converters.fleet.sites import Sites

SHOWN = 10
"""Files and sites that are named on a terminal; the lists have all."""


def add_fleet_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--on`` and ``--exclude``."""
    parser.add_argument(
        "--on", metavar="ENGINE",
        help="where files are added up: dask (processes of this machine), dask://HOST:PORT (a scheduler), or beam "
        "(Apache Beam's local runner); default: this process",
    )  # fmt: skip
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN",
        help="leave out files whose address or site fits, such as 'hall-7*'; may be repeated",
    )  # fmt: skip


def run_fleet(options: argparse.Namespace, output: str, by: tuple[str, ...] = ()) -> Gathering:
    """Find the files that are named, choose those that count and add them up; an interrupted run goes on.

    Raises:
        UsageError: The output cannot be written.
        MultigraftError: As :func:`multigraft.converters.fleet.gathering.gather`.
    """
    from multigraft.converters import urls
    from multigraft.converters.fleet.engines import engine_of
    from multigraft.converters.fleet.gathering import Wanted, gather
    from multigraft.converters.fleet.run_store import store_of
    from multigraft.converters.job.progress import terminal_report

    if not urls.is_url(output):
        (check_folder if by else check_output)(Path(output))
    engine = engine_of(options.on)
    wanted = Wanted(tuple(options.files), tuple(options.exclude), by, output)
    with terminal_report() as report:
        return gather(wanted, store_of(output), engine, report)


def write_aside(counted: Counted, output: str) -> str | None:
    """Write the list of the files that were set aside, as CSV beside the output; its name, None where there is none."""
    from multigraft.converters import urls

    if not counted.aside:
        return None
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("file", "reason"))
    table.writerows(counted.aside.items())
    target = f"{output.rstrip('/')}.aside.csv"
    urls.write(target, text.getvalue().encode())
    return urls.masked(target)


def tell_counted(counted: Counted, aside: str | None) -> None:
    """Say what became of the files."""
    rate = (counted.summed - counted.reused) / max(1e-9, counted.seconds)
    again = f", {counted.reused:,} of them by a run before" if counted.reused else ""
    left_out = f", {counted.excluded:,} left out" if counted.excluded else ""
    print(f"{counted.summed:,} of {counted.files:,} files count{again}{left_out}; {rate:,.0f} a second")
    for pattern in counted.idle:
        print(f"--exclude {visible(pattern)} fits no address and no site")
    if aside is not None:
        print(f"{len(counted.aside):,} are set aside, all of them in {aside}:")
        for url, reason in list(counted.aside.items())[:SHOWN]:
            print(f"- {visible(url)}: {visible(reason)}")


def ahead_of(sites: Sites) -> dict[str, str]:
    """Site to the first of its days that are still to come: its clock is ahead.

    A day has begun somewhere on earth before it does by UTC.
    """
    tomorrow = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).date().isoformat()
    ahead: dict[str, str] = {}
    for site, day in zip(sites.site, sites.day, strict=True):
        if day > tomorrow:
            ahead.setdefault(site, day)
    return ahead


def tell_ahead(sites: Sites) -> None:
    """Name the sites whose clocks are ahead."""
    ahead = ahead_of(sites)
    if ahead:
        shown = ", ".join(f"{visible(site)} ({day})" for site, day in list(ahead.items())[:SHOWN])
        more = f" and {len(ahead) - SHOWN:,} more" if len(ahead) > SHOWN else ""
        print(f"- the clocks of {len(ahead):,} sites are ahead: {shown}{more}")
