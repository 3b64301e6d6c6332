"""The table of sites and its page: a row a site and day, right figures, readable elsewhere, and safe names."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from multigraft.converters.fleet.gathering import Counted
from multigraft.converters.fleet.packing import packed
from multigraft.converters.fleet.parts import Row
from multigraft.converters.fleet.sites import Sites, sites_of
from multigraft.converters.fleet.sites_file import write_sites
from multigraft.converters.fleet.sites_page import page, visits
from multigraft.statistics.statistics import Statistics
from tests.converters.fleet.fleet_files import OTHER_CAMERA, site

NETWORKS = ("garment", "digit")
HOSTILE = '<script>alert("x")</script>\x1b[31m'


def rows(found: list[Statistics]) -> Iterator[Row]:
    made = [
        Row(f"{number:04}", name, day, packed(tally.to_arrays()))
        for number, statistics in enumerate(found)
        for (name, day), tally in statistics.places.items()
    ]
    yield from sorted(made, key=lambda row: (row.site, row.day, row.url))


@pytest.fixture(scope="module")
def table() -> Sites:
    found = [site(i, moved=OTHER_CAMERA if i == 7 else 0.0) for i in range(60)]
    found += [site(i, day="2026-11-06") for i in range(3)]
    found += [site(3, day="2026-11-06", moved=OTHER_CAMERA), site(900, name="site-00004"), site(901, name=HOSTILE)]
    return sites_of(rows(found), NETWORKS)


def row(table: Sites, name: str, day: str = "2026-11-05") -> int:
    return next(i for i, place in enumerate(zip(table.site, table.day, strict=True)) if place == (name, day))


def test_there_is_a_row_a_site_and_day(table: Sites) -> None:
    assert len(table.site) == 61 + 4 and len(table.names) == 61
    both = row(table, "site-00004")
    assert table.columns["files"][both] == 2 and table.columns["frames"][both] == 2 * 96
    assert set(table.columns["files"]) == {1, 2}


def test_figures_are_those_of_the_histograms(table: Sites) -> None:
    ((_, tally),) = site(11).places.items()
    at = row(table, "site-00011")
    bins = np.arange(64) + 0.5
    counts = tally.counts["brightness"]
    assert table.columns["brightness"][at] == pytest.approx((bins * 4 * counts).sum() / counts.sum())
    assert table.columns["sure_digit"][at] == pytest.approx(tally.counts["margin/digit"][45:].sum() / 96)
    assert table.columns["dark"][at] == table.columns["bright"][at] == 0
    middle = np.repeat(np.arange(64), tally.counts["sharpness"])[47]
    assert table.columns["sharpness"][at] == pytest.approx(2 ** ((middle + 0.5) / 4) - 1)


def test_a_site_with_another_camera_and_a_site_that_changed_are_named(table: Sites) -> None:
    assert table.is_compared and {one.site for one in table.strange} >= {"site-00007"}
    assert {one.site for one in table.strange} <= {"site-00007", "site-00003"}
    assert table.columns["drift_p"][row(table, "site-00007")] < 0.01
    changed, before = row(table, "site-00003", "2026-11-06"), row(table, "site-00003")
    assert table.columns["change_p"][changed] < 0.01 and table.columns["change"][changed] > 3
    assert not table.columns["is_settled"][before] and table.columns["is_settled"][changed]
    assert {"site-00007", "site-00003"} <= set(visits(table))


def test_the_table_opens_elsewhere(table: Sites, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_sites(table, tmp_path / "sites.parquet")
    read = parquet.read_table(tmp_path / "sites.parquet")
    assert read.num_rows == 65 and read.column("site").to_pylist() == table.site
    assert read.schema.field("is_strange").type == "bool" and read.schema.field("frames").type == "int64"
    assert read.column("day")[0].as_py() == datetime.date.fromisoformat(table.day[0])
    assert read.column("change")[row(table, "site-00011")].as_py() is None
    assert b"standard deviations" in read.schema.field("drift").metadata[b"unit"]


def test_the_page_is_whole_and_escapes_what_devices_call_themselves(table: Sites) -> None:
    counted = Counted(70, 65, {f"s3://x/{HOSTILE}": "it is <b>damaged</b>"}, 0, (), 0, 1.0)
    text = page(table, None, counted, "Halls & yards")
    assert "<script" not in text and "\x1b" not in text and "<b>damaged" not in text
    assert "site-00007" in text and "Halls &amp; yards" in text and "http" not in text.replace("http-equiv", "")
    for title in ("Sites to visit", "Where it drifts", "When it settled", "Files set aside"):
        assert f"<h2>{title}</h2>" in text


def test_few_sites_are_listed_and_not_compared() -> None:
    few = sites_of(rows([site(i) for i in range(5)]), NETWORKS)
    assert not few.is_compared and not few.strange and len(few.site) == 5
    assert np.isnan(few.columns["drift"]).all()
