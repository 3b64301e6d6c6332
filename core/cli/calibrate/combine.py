"""``multigraft calibrate combine``: one file of several."""

from __future__ import annotations

import argparse
from pathlib import Path

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

_LONGEST_NAME = 150
"""Letters; file systems take 255 bytes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step's arguments."""
    parser.add_argument(
        "files", nargs="+", metavar="FILES",
        help="files in any order, each once; or folders, patterns and addresses, such as 's3://fleet/*.mgstats': of "
        "what is found there, files that are broken, foreign or outdated are set aside",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", required=True, metavar="NAME.mgstats", help="the file to write; with --by a folder of files"
    )
    parser.add_argument("--by", metavar="KEYS", help="keep sums apart by site, day, or site,day: a file each")
    add_fleet_arguments(parser)


def execute(options: argparse.Namespace) -> int:
    """Add up, write, and say which sums can be told apart."""
    from multigraft.converters import urls

    is_fleet = options.by is not None or options.on is not None or options.exclude or urls.is_url(options.output)
    if is_fleet or any(map(urls.is_several, options.files)):
        return _combine_fleet(options)
    return _combine_named(options)


def _combine_named(options: argparse.Namespace) -> int:
    """Files that are named one by one: each has to be good."""
    from multigraft.statistics import statistics_file
    from multigraft.statistics.combining import combine_files

    output = Path(options.output)
    combined = combine_files([Path(name) for name in options.files], output)
    fleet = combined.statistics
    statistics_file.write(fleet, output)
    sites, files = list(fleet.sites), len(combined.used)
    if options.json:
        result = {
            "output": str(output), "frames": fleet.frames, "files": files, "sites": sites,
            "apart": list(combined.apart),
        }  # fmt: skip
        print(json_text(result))
    else:
        print(f"{output}: {fleet.frames:,} frames of {files} files, sites {', '.join(map(visible, sites))}")
        for sentence in combined.apart:
            print(f"- {visible(sentence)}")
    return 0


def _combine_fleet(options: argparse.Namespace) -> int:
    """What is found: whatever does not count is named."""
    from multigraft.converters import urls
    from multigraft.converters.fleet.choice import parse_by
    from multigraft.converters.fleet.sites import sites_of
    from multigraft.statistics import statistics_file
    from multigraft.statistics.combining import told_apart

    by = parse_by(options.by)
    gathering = run_fleet(options, options.output, by)
    counted, apart, frames, written, networks = gathering.counted, [], 0, [], []
    with gathering.store:
        if by and not urls.is_url(options.output):
            Path(options.output).mkdir(exist_ok=True)
        for key, fleet in gathering.sums():
            target = f"{options.output.rstrip('/')}/{file_name(key)}.mgstats" if by else options.output
            if not by:
                before = None if urls.is_url(target) else Path(target)
                apart = told_apart(fleet, counted.summed, gathering.smallest(key), before)
            urls.write(target, statistics_file.to_bytes(fleet.coalesced()))
            networks = [network.name for network in fleet.subject.networks]
            frames += fleet.frames
            written.append(urls.masked(target))
        table = sites_of(gathering.store.tallies(), networks)
        aside = write_aside(counted, options.output)
    gathering.store.remove()
    output = urls.masked(options.output)
    if options.json:
        result = {
            "output": output, "frames": frames, "files": counted.summed, "sites": table.names, "apart": apart,
            "aside": counted.aside, "strange": [one.site for one in table.strange] if table.is_compared else None,
            "ahead": ahead_of(table), "idle": counted.idle,
        } | ({"written": written} if by else {})  # fmt: skip
        print(json_text(result))
        return 0
    sums = f" in {len(written):,} sums" if by else ""
    print(f"{output}: {frames:,} frames of {counted.summed:,} files and {len(table.names):,} sites{sums}")
    tell_counted(counted, aside)
    tell_ahead(table)
    if table.strange:
        shown = ", ".join(visible(one.site) for one in table.strange[:SHOWN])
        more = f" and {len(table.strange) - SHOWN:,} more" if len(table.strange) > SHOWN else ""
        print(f"- {len(table.strange):,} sites differ from the rest: {shown}{more} (multigraft calibrate sites)")
    for sentence in apart:
        print(f"- {visible(sentence)}")
    return 0


def file_name(key: str) -> str:
    """A key as a name of a file: whatever a site is called, it stays in its folder, and no two keys share one."""
    from urllib.parse import quote

    from multigraft.files import sha256_of

    name = quote(key, safe=" @+,=")
    if name.startswith("."):
        name = "%2E" + name[1:]
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{sha256_of(key.encode())[:16]}"
