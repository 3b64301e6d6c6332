"""The live page in Chromium, at the size of a desk and of a telephone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.bundle_builder import build
from tests.runtime.service.served import serving

SIZES = {"desktop": (1366, 768), "telephone": (390, 844)}


def test_the_page_shows_picture_and_answers_and_asks_nobody_else(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("browser: no Chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="browser: Playwright is not installed")
    kept = Path(os.environ.get("MULTIGRAFT_SCREENSHOTS") or tmp_path)
    build().bundle.write(tmp_path / "home.graft")
    arguments = (str(tmp_path / "home.graft"), "--source", "fake:320x240", "--rate", "20")
    with serving(tmp_path, *arguments) as served, playwright.sync_playwright() as play:
        served.until(served.is_well)
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (width, height) in SIZES.items():
            page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=2)
            said: list[str] = []
            asked: list[str] = []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(f"http://127.0.0.1:{served.port}/")
            page.wait_for_selector("#picture:not([hidden])", timeout=60_000)
            page.locator("#answers dd").nth(1).wait_for(timeout=60_000)
            first = page.get_attribute("#picture", "src")
            while page.get_attribute("#picture", "src") == first:
                page.wait_for_timeout(50)
            page.wait_for_timeout(float(os.environ.get("MULTIGRAFT_WATCH_MS", "0")))
            page.screenshot(path=str(kept / f"{name}.png"), full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("document.getElementById('picture').naturalWidth") >= 320
            assert said == []
            own = f"http://127.0.0.1:{served.port}/"
            assert [url for url in asked if not url.startswith((own, f"blob:{own}"))] == []
            page.close()
        browser.close()
