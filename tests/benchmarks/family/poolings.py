"""Correlations of what is kept with what could have told it, over several ways of putting grafts together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import pearsonr, spearmanr

from tests.benchmarks.family.measure import Point

PREDICTORS = {"cka": "CKA", "pooled_cka": "CKA, averaged over space", "agreement": "agreement", "size": "size"}
WAYS = {"raw": "raw", "refit": "refit", "thinned": "thinned"}
FEWEST = 5
"""Points that a correlation is told of."""

RESAMPLED = 2000
REPORTED = 0.94
"""What arXiv 2410.11233 reports of similarity: |r| above it."""

Values = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Correlation:
    """Of one predictor with the share of accuracy that is kept.

    Attributes:
        pearson: Its r; None where one of both does not vary.
        spearman: The same of ranks.
        low: Lower end of the 95 % interval of Pearson's r, by drawing pairs of networks with all of their grafts
            (percentile bootstrap); None where only one pair is there.
        high: Upper end.
        points: Grafts or thinned networks.
        clusters: Pairs of networks, or networks.
    """

    pearson: float | None
    spearman: float | None
    low: float | None
    high: float | None
    points: int
    clusters: int


def correlation(points: Sequence[Point], predictor: str) -> Correlation:
    """Over ``points``, with what is kept."""
    x, y = _values(points, predictor), _values(points, "kept")
    clusters = np.unique([p.cluster for p in points], return_inverse=True)[1] if points else np.zeros(0, int)
    count = int(clusters.max()) + 1 if len(clusters) else 0
    if not _varies(x, y):
        return Correlation(None, None, None, None, len(points), count)
    low = high = None
    if count > 1:
        random, found = np.random.default_rng(0), []
        rows = [np.flatnonzero(clusters == c) for c in range(count)]
        for _ in range(RESAMPLED):
            drawn = np.concatenate([rows[c] for c in random.integers(0, count, count)])
            if _varies(x[drawn], y[drawn]):
                found.append(np.corrcoef(x[drawn], y[drawn])[0, 1])
        low, high = (float(v) for v in np.percentile(found, (2.5, 97.5)))
    pearson, spearman = (float(of(x, y).statistic) for of in (pearsonr, spearmanr))
    return Correlation(pearson, spearman, low, high, len(points), count)


def poolings(points: Sequence[Point]) -> Iterator[tuple[str, list[Point]]]:
    """Grafts of one way, put together by degree, by layer and by place; thinned networks, all and by family."""

    def of(chosen: Callable[[Point], bool]) -> list[Point]:
        return [p for p in points if chosen(p)]

    if points and points[0].way == "thinned":
        yield "all networks", list(points)
        for network in dict.fromkeys(p.target for p in points):
            yield f"{network} alone", of(lambda p, n=network: p.target == n)  # type: ignore[misc]
        return
    yield "all", list(points)
    yield "relatives", of(lambda p: p.degree != "independent")
    for degree in ("head", "block", "all"):
        yield f"relatives, {DEGREE_TEXT[degree]}", of(lambda p, d=degree: p.degree == d)  # type: ignore[misc]
    yield "independent", of(lambda p: p.degree == "independent")
    yield "same layer of both", of(lambda p: p.same_layer)
    yield "same layer, relatives", of(lambda p: p.same_layer and p.degree != "independent")
    yield "same layer, independent", of(lambda p: p.same_layer and p.degree == "independent")
    yield "other layers", of(lambda p: not p.same_layer)
    for number, layer in enumerate(dict.fromkeys(p.layer for p in points if p.same_layer)):
        name = f"all, same layer, place {number + 1}"
        yield name, of(lambda p, at=layer: p.same_layer and p.layer == at)  # type: ignore[misc]
    yield "mean of each pair", means(points, lambda p: p.cluster)
    yield "mean of each degree and layer", means(points, lambda p: f"{p.degree}, {p.layer}, {p.same_layer}")


DEGREE_TEXT = {"head": "head tuned", "block": "last block tuned", "all": "all layers tuned"}


def means(points: Sequence[Point], key: Callable[[Point], str]) -> list[Point]:
    """One point for each key: the mean of all that have it."""
    found = []
    for name in sorted({key(p) for p in points}):
        members = [p for p in points if key(p) == name]
        mean: dict[str, Any] = {field: float(_values(members, field).mean()) for field in ("kept", *PREDICTORS)}
        found.append(dataclasses.replace(members[0], cluster=name, **mean))
    return found


def print_tables(points: Sequence[Point]) -> None:
    """A table for each way as Markdown, and in how many single pairs and targets CKA reaches what is reported."""
    for way, text in WAYS.items():
        of_way = [p for p in points if p.way == way]
        if not of_way:
            continue
        print(f"\n{text}: Pearson's r (95 % interval), Spearman's r\n")
        print("| " + " | ".join(("put together", "n", "pairs", *PREDICTORS.values())) + " |")
        print("|---" * (3 + len(PREDICTORS)) + "|")
        for name, members in poolings(of_way):
            if len(members) >= FEWEST:
                found = [correlation(members, predictor) for predictor in PREDICTORS]
                cells = [name, str(found[0].points), str(found[0].clusters), *map(_cell, found)]
                print("| " + " | ".join(cells) + " |")
        if way != "thinned":
            _print_single(of_way, "pair of networks", lambda p: f"{p.target} on {p.donor}")
            _print_single(of_way, "target, all donors", lambda p: p.target)


def _print_single(points: Sequence[Point], name: str, key: Callable[[Point], str]) -> None:
    for predictor in PREDICTORS:
        found = []
        for one in sorted({key(p) for p in points}):
            r = correlation([p for p in points if key(p) == one], predictor).pearson
            found += [] if r is None else [r]
        if found:
            above, middle = sum(abs(r) > REPORTED for r in found), np.median(found)
            print(f"each {name}: {predictor}: median r {middle:.2f}, |r| > {REPORTED} in {above} of {len(found)}")


def _cell(found: Correlation) -> str:
    if found.pearson is None:
        return "–"
    between = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
    return f"{found.pearson:.2f}{between}, {found.spearman:.2f}"


def _values(points: Sequence[Point], field: str) -> Values:
    return np.array([getattr(p, field) for p in points], np.float64)


def _varies(x: Values, y: Values) -> bool:
    return len(x) >= 3 and bool(np.ptp(x) > 1e-9) and bool(np.ptp(y) > 1e-9)
