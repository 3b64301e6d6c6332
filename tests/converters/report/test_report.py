from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multigraft.converters.report import pareto_plot, summary_docs, units
from multigraft.converters.report.page import page, write_page
from multigraft.converters.report.segment_graph import shortened
from multigraft.converters.report.summary import ParetoPoint, Summary
from multigraft.converters.report.terminal import remarks
from multigraft.errors import InputError
from tests.converters.report.summary_samples import sample

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """Elements of an HTML page; fails on a tag that is closed wrongly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def rendered(data: dict[str, Any], folder: Path) -> Page:
    return Page(page(Summary.from_json(data), folder))


def with_heatmaps(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    for i, table in enumerate(data["similarity"]):
        table["heatmap"] = f"cka {i}.png"
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / table["heatmap"])
    return data


def test_a_summary_survives_its_file(tmp_path: Path) -> None:
    summary = Summary.from_json(sample(6, energy=True))
    summary.write(tmp_path / "summary.json")
    assert Summary.load(tmp_path / "summary.json") == summary
    plain = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert plain["weights_bytes"]["bundle"] == 654_000 and isinstance(plain["weights_bytes"]["bundle"], int)


def test_unknown_fields_are_ignored() -> None:
    data = sample()
    data["future"] = data["tasks"][0]["future"] = 1
    assert Summary.from_json(data) == Summary.from_json(sample())


def test_the_plot_shows_what_the_budget_prefers() -> None:
    data = sample(3)
    data["budget"]["prefer"] = "latency"
    assert "weights of the bundle, kB" in pareto_plot.inline_svg(Summary.from_json(data)), "no plan was timed"
    for number, point in enumerate(data["pareto"]):
        point["latency_us"] = 2500 - 500 * number
    summary = Summary.from_json(data)
    assert "time per frame in float32 here, ms" in pareto_plot.inline_svg(summary)
    front = pareto_plot.front(summary.pareto, pareto_plot.axis_of(summary))
    assert [p.latency_us for p in front] == sorted(p.latency_us or 0 for p in summary.pareto)
    assert "2.50 ms" in page(summary, Path())
    data["budget"]["prefer"] = "macs"
    assert "multiply-accumulates per frame, millions" in pareto_plot.inline_svg(Summary.from_json(data))


def test_a_warning_of_the_build_stands_on_the_page() -> None:
    summary = Summary.from_json({**sample(3), "warnings": ["all frames of worn are grey"]})
    assert "Warning: all frames of worn are grey." in page(summary, Path())


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda d: d.pop("tasks"), "summary.tasks is missing"),
        (lambda d: d.update(tasks=[]), "summary.tasks is empty"),
        (lambda d: d["tasks"][1].update(relation="cousin"), "summary.tasks[1].relation"),
        (lambda d: d["tasks"][2]["agreement"].pop("frames"), "summary.tasks[2].agreement.frames is missing"),
        (lambda d: d["weights_bytes"].update(bundle="many"), "summary.weights_bytes.bundle"),
        (lambda d: d["segments"].update(mismatches=0.5), "summary.segments.mismatches"),
    ],
)
def test_a_wrong_summary_is_refused_with_its_place(change: Any, place: str) -> None:
    data = sample()
    change(data)
    with pytest.raises(InputError, match=re.escape(place)):
        Summary.from_json(data)


def test_a_file_that_is_no_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json does not exist"):
        Summary.load(tmp_path / "none.json")
    for content in (b"{", b"\xff\xfe", b"[]"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(InputError, match="is not a summary"):
            Summary.load(tmp_path / "bad.json")


def test_the_documentation_is_the_code() -> None:
    written = Path(__file__).parents[3] / "docs" / "summary.md"
    assert written.read_text("utf-8") == summary_docs.markdown()


@pytest.mark.parametrize("tasks", range(1, 7))
@pytest.mark.parametrize("measured", [True, False])
def test_the_page_is_well_formed_and_needs_nothing_from_outside(tasks: int, measured: bool, tmp_path: Path) -> None:
    data = with_heatmaps(sample(tasks, labels=measured, energy=measured), tmp_path)
    shown = rendered(data, tmp_path)
    for _, attributes in shown.elements:
        for name in ("src", "href", "xlink:href", "data", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/"))
    assert not shown.all("script") and not shown.all("link")
    style = page(Summary.from_json(data), tmp_path)
    assert not re.search(r"@import|url\((?!#)", style)
    ids = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len(shown.all("h1")) == 1
    assert all(image.get("alt") for image in shown.all("img"))
    assert all("scope" in header for header in shown.all("th"))
    assert len(shown.all("img")) == len(data["similarity"])


def test_the_page_shows_figures_with_unit_sample_count_and_machine(tmp_path: Path) -> None:
    text = rendered(sample(3), tmp_path).text
    for expected in (
        "366 kB",
        "−30 %",
        "23.5 M",
        "811 µs",
        "17.5 MiB",
        "500 runs",
        "Raspberry Pi 5 Model B",
        "no power sensor was found on this machine",
        "equal 256 inputs, 0 mismatches on ai-edge-litert 2.3.0, tflite-runtime 2.14.0",
        "2,000 frames",
        "≥ 98.58 %",
        "1,536 frames",
        "weights at most 500 kB",
        "3 networks on one shared trunk: 30 % less weights, 34 % less time per frame.",
        "on at least 99.1 % of frames",
    ):
        assert expected in text


def test_what_was_not_measured_is_never_shown_as_zero(tmp_path: Path) -> None:
    data = sample(2, labels=False)
    data["latency_us"] = {"issue": "the interpreter is not installed"}
    del data["pss_kib"], data["machine"]
    shown = rendered(data, tmp_path).text
    assert shown.count("not measured") >= 3
    assert "the interpreter is not installed" in shown
    assert "0 µs" not in shown and "0 J" not in shown and " 0.0 %" not in shown


def test_an_invalid_figure_is_marked_and_claims_nothing(tmp_path: Path) -> None:
    data = sample(3)
    data["latency_us"] |= {"valid": False, "issue": "the processor was throttled"}
    text = rendered(data, tmp_path).text
    assert "not valid: the processor was throttled" in text
    assert "less time per frame" not in text and "−34 %" not in text


def test_mismatches_are_shown_as_a_failure(tmp_path: Path) -> None:
    data = sample(2)
    data["segments"]["mismatches"] = 3
    assert "different 3 of 256 inputs differ" in rendered(data, tmp_path).text


def test_an_unshared_bundle_says_so(tmp_path: Path) -> None:
    data = sample(2)
    for task in data["tasks"]:
        task.update(relation="unshared", share_point=None, donor=None, agreement=None)
    data["notes"] = ["No sharing met the budget."]
    data["weights_bytes"]["bundle"] = data["weights_bytes"]["separate"]
    data["latency_us"]["bundle"] = data["latency_us"]["separate"] * 1.05
    text = rendered(data, tmp_path).text
    assert "2 networks in one bundle, nothing shared: 5 % more time per frame." in text
    assert "No sharing met the budget." in text


def test_names_are_text_not_markup(tmp_path: Path) -> None:
    data = sample(2)
    evil = '<script>alert("1")</script>'
    data["name"] = data["tasks"][0]["name"] = data["graph"][0]["name"] = data["tasks"][1]["share_point"] = evil
    data["layer_error"][0]["tensor"] = evil
    data["notes"] = [evil]
    assert not rendered(data, tmp_path).all("script")


def test_boxes_of_the_graph_lie_inside_and_apart(tmp_path: Path) -> None:
    for tasks in range(1, 7):
        shown = rendered(sample(tasks), tmp_path)
        drawing = next(a for a in shown.all("svg") if a.get("class") == "graph")
        *_, width, height = map(float, str(drawing["viewbox"]).split())
        boxes = [
            tuple(float(str(a[k])) for k in ("x", "y", "width", "height"))
            for a in shown.all("rect")
            if a.get("class") == "body"
        ]
        assert len(boxes) == len(sample(tasks)["graph"])
        for i, (x, y, w, h) in enumerate(boxes):
            assert min(x, y) >= 0 and x + w <= width and y + h <= height
            for x2, y2, w2, h2 in boxes[:i]:
                assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_a_missing_picture_leaves_no_page(tmp_path: Path) -> None:
    data = sample(2)
    data["similarity"][0]["heatmap"] = "gone.png"
    with pytest.raises(InputError, match=r"gone\.png"):
        write_page(Summary.from_json(data), tmp_path / "report.html", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_page_is_the_same_every_time(tmp_path: Path) -> None:
    summary = Summary.from_json(with_heatmaps(sample(3), tmp_path))
    assert page(summary, tmp_path) == page(summary, tmp_path)


def test_the_front_holds_the_points_that_nothing_beats() -> None:
    def point(weights: int, *agreement: float) -> ParetoPoint:
        return ParetoPoint(f"{weights}", weights, 1, {str(i): a for i, a in enumerate(agreement)})

    points = (point(100, 1.0, 0.9), point(50, 0.8, 0.99), point(60, 0.7, 1.0), point(80, 0.85, 0.85), point(100, 0.5))
    assert [p.weights_bytes for p in pareto_plot.front(points)] == [50, 80, 100]
    assert pareto_plot.front(()) == []


def test_the_plot_is_a_picture_and_follows_the_page_colours(tmp_path: Path) -> None:
    summary = Summary.from_json(sample(3))
    pareto_plot.write_png(summary, tmp_path / "pareto.png")
    with Image.open(tmp_path / "pareto.png") as picture:
        assert picture.size[0] >= 1000
    svg = pareto_plot.inline_svg(summary)
    assert "chosen" in svg and "budget 97 %" in svg and "var(--accent)" in svg
    assert not any(color in svg for color in (pareto_plot.INK, pareto_plot.CHOSEN, "<?xml", "<metadata"))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (units.byte_count(0), "0 B"),
        (units.byte_count(999), "999 B"),
        (units.byte_count(1000), "1.00 kB"),
        (units.byte_count(123_456), "123 kB"),
        (units.byte_count(1_234_567_890), "1,235 MB"),
        (units.byte_count(None), "–"),
        (units.latency(0.25), "0.25 µs"),
        (units.latency(999.4), "999 µs"),
        (units.latency(1530), "1.53 ms"),
        (units.latency(2_500_000), "2.50 s"),
        (units.energy(0.00271), "2.71 mJ"),
        (units.energy(2.5e-7), "0.25 µJ"),
        (units.kibibytes(512), "512 KiB"),
        (units.kibibytes(17_900), "17.5 MiB"),
        (units.count(13_100_000), "13.1 M"),
        (units.count(12), "12"),
        (units.macs(5_000), "5.00 k MACs"),
        (units.percent(0.99999), "99.9 %"),
        (units.percent(1.0), "100.0 %"),
        (units.percent(None), "–"),
        (units.saving(100, 59), "−41 %"),
        (units.saving(100, 110), "+10 %"),
        (units.saving(100, 100), "±0 %"),
        (units.saving(None, 100), ""),
    ],
)
def test_figures_are_readable(shown: str, expected: str) -> None:
    assert shown == expected


def test_long_names_keep_both_ends() -> None:
    assert shortened("head_digit", 20) == "head_digit"
    short = shortened("head_face_expression_of_the_nearest_person", 20)
    assert len(short) == 20 and short.startswith("head_face") and short.endswith("person")


def test_a_thinned_network_shows_what_is_left_and_its_channels(tmp_path: Path) -> None:
    data = sample()
    layer = {"name": "conv7", "channels": 64, "kept": 20, "relative_error": 0.125}
    data["tasks"][0]["thinned"] = {
        "weights": 39_000,
        "original_weights": 151_000,
        "macs": 5_000_000,
        "original_macs": 13_000_000,
        "layers": [layer],
    }
    name = data["tasks"][0]["name"]
    said = next(line for line in remarks(Summary.from_json(data)) if "was thinned" in line)
    shown = rendered(data, tmp_path).text
    assert said.startswith(name) and said in shown
    assert re.search(r"conv7\s*64\s*20\s*12\.5", shown)
    assert "Thinned networks" not in rendered(sample(), tmp_path).text
    data["tasks"][1] |= {"thinned": data["tasks"][0].pop("thinned"), "donor": name}
    said = next(line for line in remarks(Summary.from_json(data)) if "was thinned" in line)
    assert said.startswith(f"The own part of {data['tasks'][1]['name']} was thinned")
