"""Grafana's dashboard asks for what a service really tells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.exit_bundle import build, policy
from tests.runtime.service.served import serving

DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana.json"
OF_SOME_MACHINES = {"temperature_celsius", "throttled"}
WITHOUT_A_METER = {"energy_joules", "power_watts"}
SUFFIXES = {"counter": "_total", "histogram": "_bucket", "info": "_info", "gauge": ""}
SCRAPED = {"instance", "le"}
"""What Prometheus itself adds, and the bucket."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Metric]]:
    """Name of a series to its family, of a service whose tasks have rates, and one of them an early exit."""
    folder = tmp_path_factory.mktemp("dashboard")
    build(policy(0.0)).write(folder / "home.graft")
    rates = ("--rate", "garment=20", "--rate", "digit=5", "--allow-miss")
    with serving(folder, str(folder / "home.graft"), "--source", "fake:28x28,grey", *rates) as served:
        served.until(served.is_well)
        text = served.ask("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})[2].decode()
    families: Iterable[Metric] = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    yield {family.name + SUFFIXES[family.type]: family for family in families}


def targets() -> list[tuple[str, dict[str, Any]]]:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [(panel["title"], target) for panel in panels for target in panel["targets"]]


def series_of(query: str) -> set[str]:
    """Names that a query selects: each selector here has braces."""
    names = set(re.findall(r"(\w+)\{", query))
    assert names, query
    return names


def test_every_query_asks_for_series_that_there_are(told: dict[str, Metric]) -> None:
    for title, target in targets():
        unknown = series_of(target["expr"]) - told.keys() - OF_SOME_MACHINES
        assert not unknown, title
        # No name stands without its selector, so none escapes the line above.
        bare = re.sub(r"\{[^}]*\}(\[\w+\])?|\w+(?=\{)|\b(by|without) \([^)]*\)|[0-9.]+", " ", target["expr"])
        assert set(re.findall(r"[a-z_]+", bare)) <= {"sum", "rate", "increase", "scalar", "histogram_quantile"}, title


def test_queries_and_legends_use_labels_that_the_series_have(told: dict[str, Metric]) -> None:
    for title, target in targets():
        grouped = {label for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in re.split(r",\s*", by)}
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        for name in series_of(target["expr"]) & told.keys():
            family = told[name]
            if family.name in WITHOUT_A_METER and not family.samples:
                continue
            labels = {label for sample in family.samples for label in sample.labels}
            if family.samples and "scalar" not in target["expr"]:
                assert grouped | legend <= labels | SCRAPED, title


def test_counters_are_looked_at_by_their_growth(told: dict[str, Metric]) -> None:
    for title, target in targets():
        for name in series_of(target["expr"]) & told.keys():
            if told[name].type in ("counter", "histogram"):
                assert re.search(rf"(rate|increase)\({name}\{{", target["expr"]), title


def test_deadlines_are_shown() -> None:
    shown = {name for _, target in targets() for name in series_of(target["expr"])}
    assert {"deadline_misses_total", "deadlines_met_total", "task_rate_hertz"} <= shown


def test_panels_lie_beside_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells and at["x"] + at["w"] <= 24
        cells |= own
