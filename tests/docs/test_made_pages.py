"""What is made from the code is as the code is now."""

from __future__ import annotations

import re

import pytest

from docs.pages import commands, import_picture, ways
from docs.pages.__main__ import PAGES
from docs.pages.sources import DOCS, ROOT
from multigraft.cli.main import COMMANDS
from tests.test_architecture import MAY_IMPORT


@pytest.mark.parametrize("name", PAGES)
def test_a_made_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run: python -m docs.pages"


def test_every_command_and_option_has_its_row() -> None:
    page = commands.markdown()
    assert re.findall(r"^\| \[`multigraft ([\w-]+)", page, re.MULTILINE) == list(COMMANDS)
    assert re.findall(r"^## multigraft ([\w-]+)$", page, re.MULTILINE) == list(COMMANDS)
    assert "### multigraft calibrate collect" in page
    assert "| `--min-agreement A` | " in page


@pytest.mark.parametrize("way", ways.WAYS, ids=lambda way: way.name)
def test_every_step_of_a_way_names_a_module_that_exists(way: ways.Way) -> None:
    assert [step.module for step in way.steps if not (ROOT / step.module).is_file()] == []
    assert len({step.module for step in way.steps}) == len(way.steps)


def test_every_module_on_a_hand_written_page_exists() -> None:
    below = {"firmware-internals.md": ("firmware_gen", "firmware_gen/project"), "architecture.md": ()}
    for name, folders in below.items():
        page = (DOCS / name).read_text("utf-8")
        for place in re.findall(r"`([a-z_]+(?:/[a-z_]+)+/?(?:\.py)?)`", page):
            if place.startswith("build/"):
                continue
            assert any((ROOT / folder / place).exists() for folder in ("", *folders)), f"{name}: {place}"


def test_arrows_between_packages_are_the_imports_there_are() -> None:
    drawn: dict[str, set[str]] = {}
    for package in ("core", "devices", "runtime", "calibration", "converters", "firmware_gen", import_picture.CLI):
        reached = {other for next_ in import_picture.ARROWS.get(package, ()) for other in (next_, *drawn[next_])}
        drawn[package] = reached
    imported = import_picture.package_imports(import_picture.room_imports())
    for package, others in imported.items():
        assert others <= drawn[package], package
    for package, allowed in MAY_IMPORT.items():
        assert drawn[package] == allowed - {package}


def test_rows_of_rooms_lead_downwards_and_a_circle_is_refused() -> None:
    graph = {"a/x": {"a/y", "b/z"}, "a/y": set(), "a/w": {"a/x"}, "b/z": set()}
    assert import_picture.rows(graph, "a") == [["a/y"], ["a/x"], ["a/w"]]
    with pytest.raises(ValueError, match="a/x, a/y"):
        import_picture.rows({"a/x": {"a/y"}, "a/y": {"a/x"}}, "a")


def test_every_room_of_the_picture_is_described() -> None:
    page = (DOCS / "architecture.md").read_text("utf-8")
    folders = {room for room in import_picture.room_imports() if (ROOT / room).is_dir()}
    assert {room for room in folders if f"`{room}`" not in page} == set()
