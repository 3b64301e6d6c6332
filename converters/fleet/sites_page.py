"""The fleet as one HTML page: which sites to visit, where it drifts, when it settled; no script, no network."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from html import escape

import numpy as np

from multigraft.converters.field.drift import SIGNIFICANT
from multigraft.converters.fleet.gathering import Counted
from multigraft.converters.fleet.sites import Sites
from multigraft.converters.fleet.strangers import LEAST_SITES
from multigraft.converters.report import field_charts as charts
from multigraft.converters.report.field_page import document, tiles
from multigraft.converters.report.field_report import settling
from multigraft.statistics.statistics import Statistics
from multigraft.tensors.arrays import Float64Array
from multigraft.visible import visible

MOST_ROWS = 40
"""Rows of a table of the page; the Parquet file has all."""
MOST_SITES, MOST_DAYS = 20, 14
"""Of the map of drift."""
BAD_PICTURE = 0.3
"""Share of frames nearly black or white from which on a site is worth a look."""
_BINS = 40


def page(sites: Sites, fleet: Statistics | None, counted: Counted, title: str) -> str:
    """The HTML text.

    Args:
        sites: The table.
        fleet: The sum of all; None where there are several.
        counted: What became of the files.
        title: Of the page.
    """
    sections = [
        _tiles(sites, counted),
        _visits(sites),
        _distances(sites),
        _map(sites),
        _days(sites),
        "" if fleet is None else settling(fleet),
        _aside(counted.aside),
    ]
    lead = (
        f"{int(sites.columns['frames'].sum()):,} frames of {len(sites.names):,} sites. No label and no frame was "
        "needed to bring this home."
    )
    return visible(document("fleet", title, lead, sections), keep="\n\t")


def visits(sites: Sites) -> dict[str, list[str]]:
    """Site to reasons to look at it, the most urgent first."""
    reasons: dict[str, list[str]] = {
        one.site: [f"it differs from the rest ({one.of}, {one.effect:.1f} standard deviations of sites)"]
        for one in sites.strange
    }
    names, starts = np.unique(np.array(sites.site, dtype=object).astype(str), return_index=True)
    frames = sites.columns["frames"]
    for column, what in (("dark", "nearly black"), ("bright", "nearly white")):
        weighted = np.nan_to_num(sites.columns[column]) * frames
        shares = np.add.reduceat(weighted, starts) / np.maximum(1, np.add.reduceat(frames, starts))
        for place in np.argsort(-shares, kind="stable"):
            if shares[place] <= BAD_PICTURE:
                break
            reasons.setdefault(str(names[place]), []).append(f"{100 * shares[place]:.0f} % of its frames are {what}")
    last = np.append(starts[1:], len(sites.site)) - 1
    for place, row in enumerate(last):
        if sites.columns["change_p"][row] < SIGNIFICANT:
            what = f"its last day differs from the one before ({sites.columns['change'][row]:.1f} standard deviations)"
            reasons.setdefault(str(names[place]), []).append(what)
    return reasons


def _tiles(sites: Sites, counted: Counted) -> str:
    days = sorted(set(sites.day))
    strange = f"{len(sites.strange):,}" if sites.is_compared else "–"
    shown = [
        ("Sites", f"{len(sites.names):,}", f"{len(sites.site):,} sites and days"),
        ("Days", f"{len(days):,}", f"{days[0]} to {days[-1]}" if days else ""),
        ("Frames", f"{int(sites.columns['frames'].sum()):,}", f"of {counted.summed:,} files"),
        (
            "Differ",
            strange,
            "sites unlike the rest" if sites.is_compared else f"fewer than {LEAST_SITES} can be compared",
        ),
        ("Set aside", f"{len(counted.aside):,}", f"of {counted.files:,} files"),
    ]
    return tiles(shown)


def _visits(sites: Sites) -> str:
    found = visits(sites)
    rows = "".join(
        f'<tr><th scope="row">{escape(site)}</th><td>{escape("; ".join(reasons))}</td></tr>'
        for site, reasons in list(found.items())[:MOST_ROWS]
    )
    more = f"<p>And {len(found) - MOST_ROWS:,} more, in the table of sites.</p>" if len(found) > MOST_ROWS else ""
    return _section(
        "Sites to visit",
        "Sites that are unlike the rest, see next to nothing, or have just changed. Unlike the rest: another light or "
        f"scene, another camera, dirt. The chance that any is named by chance alone is {100 * SIGNIFICANT:.0f} %.",
        _table(("site", "why"), rows) + more if rows else "<p>None.</p>",
    )


def _distances(sites: Sites) -> str:
    drift = sites.columns["drift"]
    known = ~np.isnan(drift)
    if not known.any():
        return ""
    strange = sites.columns["is_strange"] > 0
    end = max(4.0, float(np.max(drift[known])))
    drawn = ""
    for name, part in (("sites like the rest", known & ~strange), ("sites that differ", known & strange)):
        if part.any():
            counts = np.histogram(drift[part], _BINS, (0, end))[0]
            drawn += f"<div><h3>{name}: {int(part.sum()):,} days</h3>{charts.bars(counts, '0', f'{end:.1f}')}</div>"
    return _section(
        "How far sites lie apart",
        "Distance of every site and day from the middle of the fleet, in standard deviations of sites with as many "
        "minibatches.",
        f'<div class="small">{drawn}</div>',
    )


def _map(sites: Sites) -> str:
    """The farthest sites by day."""
    drift = np.nan_to_num(sites.columns["drift"])
    greatest: dict[str, float] = collections.defaultdict(float)
    for site, value in zip(sites.site, drift, strict=True):
        greatest[site] = max(greatest[site], float(value))
    chosen = sorted(greatest, key=lambda site: (-greatest[site], site))[:MOST_SITES]
    days = sorted(set(sites.day))[-MOST_DAYS:]
    if not drift.any():
        return ""
    places = {site: row for row, site in enumerate(chosen)}
    columns = {day: column for column, day in enumerate(days)}
    values: Float64Array = np.zeros((len(chosen), len(days)))
    for site, day, value in zip(sites.site, sites.day, drift, strict=True):
        if site in places and day in columns:
            values[places[site], columns[day]] = value
    scale = max(4.0, float(values.max()))
    return _section(
        "Where it drifts",
        f"The sites that lie farthest, by day: 0 is the middle of the fleet, or a day without frames; 1 is {scale:.1f} "
        "standard deviations.",
        charts.heat_map(values / scale, chosen, days, "Distance from the fleet, by site and day"),
    )


def _days(sites: Sites) -> str:
    """By day: how many sites had settled, and how many changed."""
    days = sorted(set(sites.day))
    if len(days) < 2:
        return ""
    place = {day: number for number, day in enumerate(days)}
    seen, settled, changed = (np.zeros(len(days), np.int64) for _ in range(3))
    for row, day in enumerate(sites.day):
        seen[place[day]] += 1
        settled[place[day]] += int(sites.columns["is_settled"][row])
        changed[place[day]] += int(sites.columns["change_p"][row] < SIGNIFICANT)
    drawn = "".join(
        f"<div><h3>{name}</h3>{charts.bars(counts, days[0], days[-1])}</div>"
        for name, counts in (("sites seen", seen), ("of them settled", settled), ("unlike the day before", changed))
    )
    return _section(
        "When it settled",
        "Sites by day. Settled: no later day of the site differs from the day before it.",
        f'<div class="small">{drawn}</div>',
    )


def _aside(aside: Mapping[str, str]) -> str:
    if not aside:
        return ""
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(url)}</code></th><td>{escape(reason)}</td></tr>'
        for url, reason in list(aside.items())[:MOST_ROWS]
    )
    more = (
        f"<p>And {len(aside) - MOST_ROWS:,} more, in the list of files set aside.</p>" if len(aside) > MOST_ROWS else ""
    )
    return _section("Files set aside", "They do not count, and why.", _table(("file", "why"), rows) + more)


def _section(title: str, lead: str, content: str) -> str:
    return f"<section><h2>{title}</h2><p>{lead}</p>{content}</section>"


def _table(heads: tuple[str, ...], rows: str) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{heads[0]}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
