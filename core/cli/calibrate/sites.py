"""``multigraft calibrate sites``: a table of many devices, one row a site and day, and a page that draws it."""

from __future__ import annotations

import argparse
import dataclasses

from multigraft.cli.calibrate.fleet_options import (
    SHOWN,
    add_fleet_arguments,
    ahead_of,
    run_fleet,
    tell_ahead,
    tell_counted,
    write_aside,
)
from multigraft.cli.shared.json_text import json_text
from multigraft.visible import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILES", help="files, folders, patterns and addresses: 's3://fleet/*.mgstats'")
    add("-o", "--output", required=True, metavar="sites.parquet", help="the table to write, a file or an address")
    add("--report", metavar="fleet.html", help="also write a page that draws it")
    add("--title", default="Fleet", help="title of the page (default: Fleet)")
    add_fleet_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Add up, compare, write the table and the page, and name the sites that differ."""
    from multigraft.converters import urls
    from multigraft.converters.fleet.sites import sites_of
    from multigraft.converters.fleet.sites_file import write_sites
    from multigraft.converters.fleet.sites_page import page

    gathering = run_fleet(options, options.output)
    with gathering.store:
        ((_, fleet),) = gathering.sums()
        networks = [network.name for network in fleet.subject.networks]
        sites = sites_of(gathering.store.tallies(), networks)
        write_sites(sites, options.output)
        if options.report is not None:
            urls.write(options.report, page(sites, fleet, gathering.counted, options.title).encode())
        aside = write_aside(gathering.counted, options.output)
    gathering.store.remove()
    output = urls.masked(options.output)
    if options.json:
        result = {
            "output": output, "rows": len(sites.site), "sites": len(sites.names),
            "strange": [dataclasses.asdict(one) for one in sites.strange] if sites.is_compared else None,
            "aside": gathering.counted.aside, "ahead": ahead_of(sites), "idle": gathering.counted.idle,
        }  # fmt: skip
        print(json_text(result))
        return 0
    print(f"{output}: {len(sites.site):,} rows of {len(sites.names):,} sites")
    tell_counted(gathering.counted, aside)
    tell_ahead(sites)
    if not sites.is_compared:
        print("too few sites to tell which differ from the rest")
    elif sites.strange:
        print(f"{len(sites.strange):,} sites differ from the rest:")
    for one in sites.strange[:SHOWN]:
        print(f"- {visible(one.site)}: {one.of}, {one.effect:.1f} standard deviations of sites")
    return 0
