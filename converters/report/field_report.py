"""What statistics of field runs hold, as one HTML page: no script, no external resource, light and dark."""

from __future__ import annotations

import itertools
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multigraft.converters import urls
from multigraft.converters.field.drift import SIGNIFICANT, Drift, find_drift
from multigraft.converters.report import field_charts as charts
from multigraft.converters.report.field_page import document, tiles
from multigraft.statistics import entries
from multigraft.statistics.noise import LEFT_OUT, UNIT_OF_PRIVACY, Noise
from multigraft.statistics.noised_similarity import TOO_NOISY, NoisedSimilarity, noised_similarity
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.statistics_file import CONTENT
from multigraft.statistics.subject import Tap
from multigraft.statistics.value_histogram import percentile
from multigraft.visible import visible

GOOD_PRECISION = 0.02
"""Half width of a CKA's interval beyond which more frames hardly change a decision."""

TAIL = 4.0
"""A range that is so many times the 99.9 % range wastes two of eight bits."""

LABEL_LENGTH = 26
MOST_ROWS = 24
CUT_OFF = 0.9
"""Mean square length of what frames add with noise, over the greatest, from which on most were cut off."""
SURE = 0.9
"""Top-1 margin from which an early exit would be safe in most uses."""

Counts = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]


def write_report(statistics: Statistics, path: Path | str, title: str) -> None:
    """Write the page, whole or not at all, to a file or an address."""
    urls.write(path, visible(page(statistics, title), keep="\n\t").encode())


def page(statistics: Statistics, title: str) -> str:
    """The HTML text."""
    drift = find_drift(statistics)
    sections = [
        _tiles(statistics),
        _advice(suggestions(statistics, drift)),
        _similarity(statistics),
        settling(statistics),
        _drift(statistics, drift),
        _exits(statistics),
        _pictures(statistics),
        _ranges(statistics),
        _content(statistics),
    ]
    names = ", ".join(n.name for n in statistics.subject.networks)
    lead = (
        f"{escape(statistics.seen)} of {_plural(len(statistics.sites), 'site')}, seen by the networks {escape(names)}. "
        "No label and no frame was needed to bring this home."
    )
    return document("field", title, lead, sections)


def suggestions(statistics: Statistics, drift: list[Drift]) -> list[str]:
    """What to do next, one sentence each; empty where nothing is left to do."""
    advice = []
    widths = statistics.precision()
    if (noised := noised_similarity(statistics)) is not None:
        advice += _noise_advice(statistics, noised)
    elif widths is None:
        advice.append("Collect more: the precision of a CKA is known from 8 minibatches of enough frames on.")
    elif (width := float(widths.max())) > GOOD_PRECISION:
        times = (width / GOOD_PRECISION) ** 2
        advice.append(
            f"Collect about {times:.1f} times as many frames: the widest interval is ±{width:.3f}, and ±"
            f"{GOOD_PRECISION:g} is enough to choose share points."
        )
    moved = [d for d in drift if d.adjusted_p < SIGNIFICANT]
    if moved:
        strongest = max(moved, key=lambda d: d.effect)
        advice.append(
            f"{strongest.first} and {strongest.second} differ ({strongest.of}, {strongest.effect:.1f} standard "
            "deviations): let calibration frames and validation cover both."
        )
    for name in _wasteful(statistics)[:3]:
        advice.append(f"{name} has rare large values: build with percentile ranges, or keep that layer in float.")
    dark, bright = extremes(_summed(statistics, entries.BRIGHTNESS))
    if dark > 0.3:
        advice.append(f"{100 * dark:.0f} % of the frames are nearly black: check exposure, or collect by day.")
    if bright > 0.3:
        advice.append(f"{100 * bright:.0f} % of the frames are nearly white: check exposure.")
    for name, share in _sure(statistics).items():
        if share > 0.7:
            advice.append(
                f"An early exit of {name} would answer {100 * share:.0f} % of frames with a margin above 0.9."
            )
    return advice


def _noise_advice(statistics: Statistics, noised: NoisedSimilarity) -> list[str]:
    unknown = [
        noised.half_width[i, j] > TOO_NOISY for rows, columns in _pairs(statistics) for i in rows for j in columns
        if i != j
    ]  # fmt: skip
    advice = []
    if any(unknown):
        advice.append(
            f"{sum(unknown)} of {len(unknown)} CKAs are too noisy to choose by (beyond ±{TOO_NOISY:g}): collect more "
            "frames in fewer releases, or allow a larger epsilon."
        )
    far = [tap for tap, share in noised.cut_off.items() if share > CUT_OFF]
    if far:
        advice.append(
            f"Most frames lie beyond the public radius of {len(far)} taps, the first is {far[0]}: their distances from "
            "the centre count as equal, and CKA is of directions alone."
        )
    return advice


def short(name: str) -> str:
    """A tap's name without its network and what exporters add, its end kept where it is long."""
    label = name.split("/", 1)[-1].strip("/").removesuffix("_output_0")
    return label if len(label) <= LABEL_LENGTH else "…" + label[1 - LABEL_LENGTH :]


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _cka(statistics: Statistics) -> tuple[Matrix, Matrix | None, str]:
    """CKA of all taps, half widths of intervals and what they are made of."""
    if (noised := noised_similarity(statistics)) is not None:
        return noised.cka, noised.half_width, "widest 95 % interval, of noise and sketches"
    return statistics.similarity().unbiased_cka(), statistics.precision(), "widest 95 % interval, jackknife"


def _tiles(statistics: Statistics) -> str:
    _, widths, made_of = _cka(statistics)
    detail = "CKA alone, with noise" if statistics.noise else f"ranges and moments of {statistics.detailed_frames:,}"
    days = {day for _, day in statistics.places}
    shown = [
        ("Frames", f"{statistics.frames:,}", detail),
        *([("Crops", f"{statistics.crops:,}", "all of these frames")] if statistics.subject.crops else []),
        ("Sites", f"{len(statistics.sites)}", ", ".join(statistics.sites)[:80]),
        ("Days", f"{len(days)}", f"{min(days)} to {max(days)}" if days else ""),
        ("CKA known to", "–" if widths is None else f"±{widths.max():.3f}", made_of),
    ]
    return tiles(shown)


def _advice(advice: list[str]) -> str:
    listed = (
        "".join(f"<li>{escape(a)}</li>" for a in advice) or "<li>Nothing: enough was collected, and it agrees.</li>"
    )
    return f'<section><h2>Suggestions</h2><p>What these figures ask for.</p><ul class="advice">{listed}</ul></section>'


def _pairs(statistics: Statistics) -> list[tuple[list[int], list[int]]]:
    """Rows and columns of the similarity matrix per pair of networks (of one network with itself if it is alone)."""
    taps = statistics.subject.taps
    by_network = [[i for i, t in enumerate(taps) if t.network == n.name] for n in statistics.subject.networks]
    return list(itertools.combinations(by_network, 2)) or [(by_network[0], by_network[0])]


def _similarity(statistics: Statistics) -> str:
    taps, (cka, widths, _) = statistics.subject.taps, _cka(statistics)
    maps = ""
    for rows, columns in _pairs(statistics):
        block = cka[np.ix_(rows, columns)]
        best = np.unravel_index(block.argmax(), block.shape)
        first, second = taps[rows[best[0]]], taps[columns[best[1]]]
        sure = "" if widths is None else f" ±{widths[rows[best[0]], columns[best[1]]]:.3f}"
        caption = (
            f"{first.network} (rows) against {second.network}, from input to output. Highest: {block.max():.3f}{sure}."
        )
        maps += charts.heat_map(
            block, [short(taps[i].name) for i in rows], [short(taps[i].name) for i in columns], caption
        )
    sampled = [t for t in taps if t.sampled]
    note = (
        f" Of {len(sampled)} of {len(taps)} taps two random samples of {sampled[0].sampled:,} features were compared; "
        "the intervals contain what that adds."
        if sampled
        else ""
    )
    return (
        "<section><h2>Similarity</h2><p>Unbiased linear CKA between the representations of two networks on the same "
        f"frames: 0 for unrelated, 1 for equal up to rotation and scale. It proposes where to share.{note}</p>{maps}"
        "</section>"
    )


def settling(statistics: Statistics) -> str:
    """How CKA of the most similar pairs settled, as a section; nothing where there was one period."""
    history = statistics.history()
    if len(history) < 2:
        return ""
    taps = statistics.subject.taps
    final = history[-1].unbiased_cka()
    chosen: list[tuple[int, int]] = []
    for rows, columns in _pairs(statistics):
        cells = sorted(((final[i, j], i, j) for i in rows for j in columns if i != j), reverse=True)
        chosen += [(i, j) for _, i, j in cells[:2]]
    matrices = [h.unbiased_cka() for h in history]
    series = {
        f"{taps[i].network} {short(taps[i].name)} × {taps[j].network} {short(taps[j].name)}": [
            float(m[i, j]) for m in matrices
        ]
        for i, j in chosen[: len(charts.COLORS)]
    }
    drawn = charts.lines([h.frames for h in history], series, "frames", "unbiased CKA")
    return (
        "<section><h2>How the figures settled</h2><p>The most similar pairs after each doubling of what a run had "
        f"collected. Where lines are level, enough was collected.</p>{drawn}</section>"
    )


def _drift(statistics: Statistics, drift: list[Drift]) -> str:
    if len(statistics.places) < 2:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(d.first)}</th><td>{escape(d.second)}</td><td>{escape(d.of)}</td>'
        f'<td class="number">{d.effect:.2f}</td><td class="number">{d.f:.2f}</td>'
        f'<td class="number">{_p(d.adjusted_p)}</td><td>{_verdict(d)}</td></tr>'
        for d in drift[:MOST_ROWS]
    )
    if not rows:
        rows = '<tr><td colspan="7">Too few minibatches per place to compare.</td></tr>'
    return (
        "<section><h2>Drift</h2><p>Whether sites, and days of a site, saw the same: Hotelling's two-sample test on "
        "minibatch means of features of the frames, projected representations, margin and entropy; p-values adjusted "
        "by Holm's method. The effect is in standard deviations of minibatch means.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Drift"><table><thead><tr><th scope="col">first</th>'
        '<th scope="col">second</th><th scope="col">of</th><th scope="col" class="number">effect</th>'
        '<th scope="col" class="number">F</th><th scope="col" class="number">p</th><th scope="col"></th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _p(value: float) -> str:
    return "&lt; 0.0001" if value < 1e-4 else f"{value:.4f}"


def _verdict(drift: Drift) -> str:
    if drift.adjusted_p < SIGNIFICANT:
        return '<span class="badge bad">differs</span>'
    return '<span class="badge good">no sign</span>'


def _summed(statistics: Statistics, name: str) -> Counts | None:
    per_place = [t.counts[name] for t in statistics.places.values() if name in t.counts]
    total: Counts | None = np.sum(per_place, axis=0) if per_place else None
    return total


def _sure(statistics: Statistics) -> dict[str, float]:
    """Classifier to the share of frames with a top-1 margin above :data:`SURE`."""
    names = [network.name for network in statistics.subject.networks]
    shares = {name: sure_share(_summed(statistics, entries.margins(name))) for name in names}
    return {name: share for name, share in shares.items() if not np.isnan(share)}


def sure_share(margins: Counts | None) -> float:
    """Share of a histogram of top-1 margins above :data:`SURE`; NaN of an empty one."""
    if margins is None or not margins.sum():
        return float("nan")
    return float(margins[int(SURE * len(margins)) :].sum() / margins.sum())


def _exits(statistics: Statistics) -> str:
    drawn = ""
    for name, share in _sure(statistics).items():
        for what in ("margin", "entropy"):
            counts = _summed(statistics, f"{what}/{name}")
            assert counts is not None
            note = f", {100 * share:.0f} % above {SURE:g}" if what == "margin" else ""
            drawn += f"<div><h3>{escape(name)}: {what}{note}</h3>{charts.bars(counts, '0', '1')}</div>"
    if not drawn:
        return ""
    return (
        "<section><h2>What an exit would see</h2><p>Difference of the two greatest probabilities, and entropy over its "
        f'maximum, of each classifier: how sure the networks are in the field.</p><div class="small">{drawn}</div>'
        "</section>"
    )


def extremes(brightness: Counts | None) -> tuple[float, float]:
    """Share of frames with a mean grey below 16, and of 240 or more; NaN of an empty histogram."""
    if brightness is None or not brightness.sum():
        return float("nan"), float("nan")
    parts = np.array_split(brightness, 16)
    return float(parts[0].sum() / brightness.sum()), float(parts[-1].sum() / brightness.sum())


def _pictures(statistics: Statistics) -> str:
    drawn = ""
    for site in statistics.sites[:6]:
        tallies = [t for (of, _), t in statistics.places.items() if of == site]
        for what, first, last in (
            (entries.BRIGHTNESS, "black", "white"),
            (entries.SHARPNESS, "blurred", "sharp"),
            (entries.LEVEL, "2^-16", "2^16"),
            (entries.ROUGHNESS, "2^-16", "2^16"),
        ):
            if all(what in t.counts for t in tallies):
                counts = np.sum([t.counts[what] for t in tallies], axis=0)
                drawn += f"<div><h3>{escape(site)}: {what}</h3>{charts.bars(counts, first, last)}</div>"
    if not drawn:
        return ""
    if _summed(statistics, entries.LEVEL) is not None:
        return (
            "<section><h2>The rows</h2><p>Root mean square of the rows that were used, and of their steps along the "
            f'last axis: two bins per doubling.</p><div class="small">{drawn}</div></section>'
        )
    return (
        "<section><h2>The picture</h2><p>Mean grey, and the variance of the Laplacian (four bins per doubling), of the "
        f'frames that were used.</p><div class="small">{drawn}</div></section>'
    )


def _tail(statistics: Statistics, name: str) -> float | None:
    """The range over that of the middle 99.9 % of values; None where no values were counted."""
    counts = statistics.overall.counts.get(entries.value_counts(name))
    if counts is None or not counts.sum():
        return None
    low, high = statistics.ranges()[name]
    inner = max(abs(percentile(counts, 0.05)), abs(percentile(counts, 99.95)))
    return max(abs(low), abs(high)) / inner if inner > 0 else None


def _wasteful(statistics: Statistics) -> list[str]:
    tails = {t.name: _tail(statistics, t.name) for t in statistics.subject.taps}
    long_tails = {name: tail for name, tail in tails.items() if tail is not None and tail > TAIL}
    return sorted(long_tails, key=lambda name: -long_tails[name])


def _ranges(statistics: Statistics) -> str:
    ranges = statistics.ranges()
    rows = "".join(_range_row(statistics, tap, ranges) for tap in statistics.subject.taps if tap.name in ranges)
    if not rows:
        return ""
    return (
        "<section><h2>Ranges</h2><p>Least and greatest value of each tap, the range of the middle 99.9 % of values "
        "(to 1 part in 64), and how much wider the full range is: static int8 spends its 256 steps on the range it is "
        f"given.</p><details><summary>{_plural(len(statistics.subject.taps), 'tap')}</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Ranges"><table><thead><tr>'
        '<th scope="col">tap</th><th scope="col" class="number">least</th><th scope="col" class="number">greatest</th>'
        '<th scope="col" class="number">99.9 % within</th><th scope="col" class="number">wider by</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details></section>"
    )


def _range_row(statistics: Statistics, tap: Tap, ranges: dict[str, tuple[float, float]]) -> str:
    low, high = ranges[tap.name]
    counts = statistics.overall.counts[entries.value_counts(tap.name)]
    tail = _tail(statistics, tap.name)
    wider = "–" if tail is None else f"{tail:.1f} ×"
    return (
        f'<tr><th scope="row"><code>{escape(tap.name)}</code></th><td class="number">{low:.3g}</td>'
        f'<td class="number">{high:.3g}</td>'
        f'<td class="number">{percentile(counts, 0.05):.3g} … {percentile(counts, 99.95):.3g}</td>'
        f'<td class="number">{wider}</td></tr>'
    )


def _noise(noise: Noise, frames: int) -> str:
    return escape(
        f"{noise.sentence(frames)} (unit: {UNIT_OF_PRIVACY}; {noise.mechanism}); what has noise lacks "
        f"{', '.join(LEFT_OUT)}"
    )


def _content(statistics: Statistics) -> str:
    subject = statistics.subject
    facts = [
        ("What it holds", escape(CONTENT)),
        ("Fewest frames that a number sums over", f"{statistics.minimum_frames:,}"),
        ("Model that was tapped", f"<code>{subject.model_sha256}</code>"),
    ]
    if statistics.noise is not None:
        facts.append(("Noise", _noise(statistics.noise, statistics.frames)))
    for network in subject.networks:
        count = sum(t.network == network.name for t in subject.taps)
        facts.append((escape(network.name), f"{network.kind}, {_plural(count, 'tap')}"))
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    return f'<section><h2>What the file contains</h2><dl class="facts">{listed}</dl></section>'
