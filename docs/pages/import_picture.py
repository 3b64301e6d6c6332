"""``docs/imports.svg``: which room imports which, drawn from the imports in the code.

Packages are panels, and an arrow leads from a package to one that it imports. Inside a panel a room imports rooms of
lower rows only, which there would be no way to draw if they imported each other in a circle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from docs.pages.sources import FOLDERS, module_name, trees
from docs.pages.svg import Picture

CLI = "core/cli"
"""The one room that may import every package; it is drawn on top."""
ARROWS = {
    CLI: ("calibration", "converters", "firmware_gen"),
    "calibration": ("runtime",),
    "runtime": ("devices",),
    "devices": ("core",),
    "converters": ("runtime", "core"),
    "firmware_gen": ("core",),
}
"""What is drawn: a package may import where an arrow leads, and on from there. A test compares it with the code."""
_LINE = 28
_TALLEST = 56
_CHIP = 21
_LETTER = 7
"""Width of a letter of the monospaced font, pixels."""
_PAD = 14
_GAP = 34
_COLUMNS = {
    "devices": (20, 370),
    "runtime": (20, 370),
    "calibration": (20, 370),
    "converters": (410, 360),
    "firmware_gen": (790, 270),
}
"""Panel to where it begins and how wide it is, pixels; the others take the whole width."""


def package_of(room: str) -> str:
    """The panel of a room."""
    return CLI if room in (CLI, "core/command", "core/__main__") else room.split("/")[0]


def room_imports() -> dict[str, set[str]]:
    """Room (a folder, or a module at the root of a package) to the rooms it imports, in functions and for types too.

    What a package itself re-exports is left out.
    """
    files = {module_name(path): (path, tree) for path, tree in trees()}
    graph: dict[str, set[str]] = {}
    for path, tree in files.values():
        here = graph.setdefault(_room(path), set())
        for name in _imported(tree):
            known = name if name in files else name.rpartition(".")[0]
            if known in files and (room := _room(files[known][0])) != _room(path):
                here.add(room)
    return {room: others for room, others in graph.items() if room not in FOLDERS}


def _room(path: str) -> str:
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    return "/".join(parts[:2])


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rows(graph: dict[str, set[str]], package: str) -> list[list[str]]:
    """The rooms of a package in rows: the lowest imports nothing of the package, each imports only lower ones.

    Raises:
        ValueError: Rooms import each other in a circle.
    """
    rooms = {room: {o for o in others if package_of(o) == package} for room, others in graph.items()}
    left = {room: others for room, others in rooms.items() if package_of(room) == package and room != package}
    done: set[str] = {package}
    result = []
    while left:
        row = sorted(room for room, others in left.items() if others <= done)
        if not row:
            raise ValueError(f"these rooms import each other in a circle: {', '.join(sorted(left))}")
        result.append(row)
        done.update(row)
        left = {room: others for room, others in left.items() if room not in done}
    return result


def package_imports(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Panel to the panels it imports."""
    panels: dict[str, set[str]] = {}
    for room, others in graph.items():
        here = panels.setdefault(package_of(room), set())
        here.update(package_of(other) for other in others)
        here.discard(package_of(room))
    return panels


def svg() -> str:
    """The picture."""
    graph = room_imports()
    panels = {package: _fitting(rows(graph, package), package) for package in FOLDERS}
    heights = {package: _PAD * 2 + 20 + _LINE * len(lines) for package, lines in panels.items()}
    stack = ("calibration", "runtime", "devices")
    tall = max(sum(heights[p] for p in stack) + 2 * _GAP, heights["converters"], heights["firmware_gen"])
    top: float = 20 + 46 + _GAP
    tops = {"converters": top, "firmware_gen": top, "core": top + tall + _GAP, CLI: 20}
    for package in stack:
        tops[package] = top
        top += heights[package] + (tall - sum(heights[p] for p in stack)) / 2
    heights |= {"converters": tall, "firmware_gen": tall, CLI: 46}
    picture = Picture(
        1080,
        round(tops["core"] + heights["core"]) + 20,
        "Which package and which room may import which",
        "core imports no other package; devices imports core; runtime, devices and core; calibration all three; "
        "converters runtime, too, and firmware_gen core alone; the command line imports all.",
    )
    for package, y in tops.items():
        _panel(picture, package, panels.get(package, []), y, heights[package])
    for package, others in ARROWS.items():
        for other in others:
            x, width = _COLUMNS[other if package == CLI else package]
            if package == "converters" and other == "runtime":
                y = tops[other] + heights[other] / 2
                picture.arrow((x, y), (sum(_COLUMNS[other]), y))
                continue
            picture.arrow((x + width / 2, tops[package] + heights[package]), (x + width / 2, tops[other]))
    return str(picture)


def _fitting(lines: list[list[str]], package: str) -> list[list[str]]:
    """The rows, those that are too long for their panel in two or more."""
    room_for = _COLUMNS.get(package, (20, 1040))[1] - 2 * _PAD
    result: list[list[str]] = []
    for line in lines:
        left = 0.0
        for room in line:
            width = _chip(room.removeprefix(f"{package}/")) + 6
            if left == 0 or left + width > room_for:
                result.append([])
                left = 0
            result[-1].append(room)
            left += width
    return result


def _chip(name: str) -> float:
    return len(name) * _LETTER + 12


def _panel(picture: Picture, package: str, lines: list[list[str]], y: float, height: float) -> None:
    x, width = _COLUMNS.get(package, (20, 1040))
    picture.box(x, y, width, height, "panel")
    picture.text(x + _PAD, y + 26, f"{package}/", "h")
    if package == CLI:
        picture.text(x + 110, y + 26, "one file per command; it may import every package", "s")
    step = min(_TALLEST, (height - 2 * _PAD - 20) / max(1, len(lines)))
    for row, rooms in enumerate(lines):
        base, left = y + height - _PAD - row * step, float(x + _PAD)
        for room in rooms:
            name = room.removeprefix(f"{package}/")
            picture.box(left, base - _CHIP, _chip(name), _CHIP)
            picture.text(left + 6, base - 6, name, "m")
            left += _chip(name) + 6
