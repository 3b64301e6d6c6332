"""The field report: one page that a browser shows without an error, and that says what the figures ask for."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from multigraft.converters.field.drift import find_drift
from multigraft.converters.report.field_report import page, suggestions, write_report
from multigraft.statistics.statistics import Statistics
from tests.calibration.samples import SUBJECT, minibatch, statistics
from tests.core.statistics.noised_samples import with_noise


@pytest.fixture(scope="module")
def fleet() -> Statistics:
    moved = statistics(2, 30, ("gate", "2026-05-02"), shift=1.5)
    return statistics(1, 40, ("gate", "2026-05-01")) + moved + statistics(3, 30, ("<yard> & co", "2026-05-01"))


def test_it_says_what_to_do_next(fleet: Statistics) -> None:
    advice = suggestions(fleet, find_drift(fleet))
    assert any(a.startswith("Collect about") for a in advice)
    assert any("gate 2026-05-01 and gate 2026-05-02 differ" in a for a in advice)
    few = statistics(1, 4)
    assert suggestions(few, [])[0].startswith("Collect more")


def test_darkness_and_rare_values_are_named() -> None:
    collected = Statistics(SUBJECT, 8)
    for number in range(4):
        part = minibatch(number)
        part.local.counts["brightness"] = np.bincount([1] * 8, minlength=64)
        part.overall.highs["digit/relu1"] = np.array(1e4)
        collected.add(part, ("a", "d"))
    advice = " ".join(suggestions(collected, []))
    assert "100 % of the frames are nearly black" in advice and "digit/relu1 has rare large values" in advice


def test_the_page_is_one_well_formed_file_without_script(fleet: Statistics) -> None:
    text = page(fleet, "fleet <of> 2")
    assert not re.search(r"<script|https?://|<img|src=|@import", text)
    for expected in ("&lt;yard&gt; &amp; co", "fleet &lt;of&gt; 2", "How the figures settled", "differs", "Drift"):
        assert expected in text
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "link", "line", "rect", "circle", "polyline", "i"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in ("line", "rect", "circle", "polyline", "i"):
                assert open_tags.pop() == tag

    Checker().feed(re.sub(r"<(\w+)([^<>]*)/>", r"<\1\2></\1>", text))
    assert open_tags == []
    assert page(fleet, "fleet <of> 2") == text


@pytest.mark.parametrize("epsilon", [8.0, 0.01])
def test_files_with_noise_say_so_and_what_they_lack(epsilon: float) -> None:
    hidden = with_noise(2048, epsilon)
    text = page(hidden, "hidden")
    assert f"each of its 2,048 frames is ({epsilon:g}, 1e-06)-differentially private" in text
    assert "of noise and sketches" in text and "least and greatest values" in text and "<h2>Ranges" not in text
    advice = " ".join(suggestions(hidden, find_drift(hidden)))
    assert ("too noisy to choose by" in advice) == (epsilon < 1)
    assert "differentially private" in page(hidden + statistics(1, 4), "both")


@pytest.mark.parametrize("count", [1, 4, 20])
def test_small_files_have_a_page_too(count: int) -> None:
    assert "What the file contains" in page(statistics(1, count), "small")


def test_a_browser_shows_it_without_an_error(fleet: Statistics, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("browser: no Chromium is installed")
    write_report(fleet, tmp_path / "report.html", "fleet")
    picture = tmp_path / "page.png"
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=900,2600",
        f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0", f"--screenshot={picture}",
        (tmp_path / "report.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    image = pytest.importorskip("PIL.Image").open(picture)
    pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (2600, 900, 3)
    # The page reaches the bottom of the window, and the heat map's and the bars' colours are on it.
    assert pixels[1500:].std() > 5
    assert (np.abs(pixels.astype(int) - [0x5B, 0x8F, 0xC7]).sum(axis=2) < 12).sum() > 2000
