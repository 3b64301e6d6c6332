"""The site that ``make docs`` builds: strict about links, and whole without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs.pages.sources import DOCS, ROOT

RESOURCES = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """What ``make docs`` runs, without making pages."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "html"]
    command += ["-d", str(site.with_name("doctrees")), str(source), str(site)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = build(DOCS, folder)
    assert done.returncode == 0, done.stderr
    return folder


class _Resources(HTMLParser):
    """Collects what a browser would load to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") in ("index", "search", "next", "prev", "canonical"):
            return
        if tag in RESOURCES and (value := values.get(RESOURCES[tag])):
            self.found.append(value)


def resources(html: str) -> list[str]:
    parser = _Resources()
    parser.feed(html)
    return parser.found


def test_every_page_is_built(site: Path) -> None:
    assert {path.stem for path in DOCS.glob("*.md")} <= {path.stem for path in site.glob("*.html")}


def test_opening_a_page_asks_no_host(site: Path) -> None:
    pages = list(site.glob("**/*.html"))
    loaded = {page: resources(page.read_text("utf-8")) for page in pages}
    assert any(loaded.values())
    for page, urls in loaded.items():
        for url in urls:
            assert not re.match(r"(?:[a-z]+:)?//", url), f"{page.name}: {url}"
            assert (page.parent / url.split("?")[0].split("#")[0]).exists(), f"{page.name}: {url}"


def test_styles_load_nothing_from_a_host(site: Path) -> None:
    sheets = list(site.glob("**/*.css"))
    assert sheets
    for sheet in sheets:
        assert not re.search(r"(?:url\(\s*[\"']?|@import\s+[\"'])(?:https?:)?//", sheet.read_text("utf-8")), sheet.name


def test_a_resource_on_a_host_would_be_seen() -> None:
    page = '<link rel="stylesheet" href="https://a.example/x.css"><script src="//b.example/y.js"></script><a href="https://c">'
    assert resources(page) == ["https://a.example/x.css", "//b.example/y.js"]


def test_the_interface_is_described(site: Path) -> None:
    pages = "".join(path.read_text("utf-8") for path in site.glob("api-*.html"))
    for name in (
        "bundle.bundle.Bundle.open",
        "runtime.engine.Engine.run",
        "runtime.result.Result.total_us",
        "statistics.statistics.Statistics",
        "devices.cameras.camera.Camera.__iter__",
        "devices.power.power.PowerMeter.energy_j",
        "devices.target.link.Link",
        "devices.flash.flasher.Flasher",
        "converters.settings.settings.Settings.load",
        "firmware_gen.generator.generate",
        "errors.BundleError",
    ):
        assert f'id="multigraft.{name}"' in pages, name


@pytest.mark.parametrize("link", ["[gone](gone.md)", "[gone](glossary.md#gone)", "![gone](gone.png)"])
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path, link: str) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    shutil.copyfile(DOCS / "conf.py", source / "conf.py")
    (source / "glossary.md").write_text("---\norphan: true\n---\n# Glossary\n", "utf-8")
    (source / "index.md").write_text(f"# Page\n\n{link}\n", "utf-8")
    done = build(source, tmp_path / "site")
    assert done.returncode != 0
    assert "gone" in done.stderr
