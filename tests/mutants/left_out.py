"""Mutation testing of what mutmut leaves out: constants of modules and classes, properties, decorated functions.

cosmic-ray changes one line at a time in a copy of the package and runs the tests of that room in a process of its own,
which takes seconds instead of a part of one; so it gets only the lines that mutmut does not change.

Use: ``python -m tests.mutants.left_out [--folder FOLDER]``; see docs/mutants.md.
"""

from __future__ import annotations

import argparse
import ast
import collections
import importlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mutants.campaign import PACKAGE, ROOT, lay_out, row

TESTS = {
    "agreement": ["tests/core/agreement", "tests/core/test_frozen.py"],
    "bundle": ["tests/core/bundle", "tests/core/test_frozen.py"],
    "refit": ["tests/core/refit", "tests/core/test_frozen.py"],
    "statistics": ["tests/core/statistics", "tests/core/test_frozen.py"],
    "firmware_gen": ["tests/firmware_gen/arithmetic"],
    "": ["tests/core/test_files.py", "tests/core/test_npz.py", "tests/core/test_npz_archive.py",
         "tests/core/test_json_decoding.py", "tests/core/test_serial_protocol.py"],
}  # fmt: skip
"""Room, or nothing for the modules beside the rooms, to the tests that are asked."""

OPERATORS = (
    "core/NumberReplacer", "core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue", "core/ReplaceAndWithOr",
    "core/ReplaceOrWithAnd", "core/AddNot", "core/RemoveDecorator", "core/ExceptionReplacer",
    "core/ReplaceBinaryOperator", "core/ReplaceComparisonOperator", "core/ReplaceUnaryOperator",
)  # fmt: skip
"""Beginnings of the names of cosmic-ray's operators that stay. Of a number's two mutants the greater one is tried."""


def lines_of_mutmut(source: str) -> set[int]:
    """The lines of functions that mutmut changes: those without a decorator, or with its two exceptions."""

    def functions(body: Sequence[ast.stmt]) -> Iterator[ast.FunctionDef]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield from functions(node.body)
            elif isinstance(node, ast.FunctionDef):
                yield node

    lines: set[int] = set()
    for function in functions(ast.parse(source).body):
        decorators = [ast.unparse(d) for d in function.decorator_list]
        if not decorators or decorators in (["staticmethod"], ["classmethod"]):
            lines |= set(range(function.lineno, (function.end_lineno or function.lineno) + 1))
    return lines


def annotation_lines(source: str) -> set[int]:
    """Lines of annotations and of names for types, where a changed operator changes nothing that runs."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.arg):
            parts = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            parts = [node.returns]
        elif isinstance(node, ast.AnnAssign) and node.value is None:
            parts = [node.annotation]
        lines |= {part.lineno for part in parts if part is not None}
    return lines


def run(folder: Path, room: str, modules: Sequence[Path]) -> dict[str, collections.Counter[str]]:
    """Try every mutant of a room's modules; module to how many ended how. Survivors are printed."""
    # Imported by name, since they have no types and need not be installed where types are checked.
    databases, items = (importlib.import_module(f"cosmic_ray.{name}") for name in ("work_db", "work_item"))
    config, session = folder / "cosmic-ray.toml", folder / f"{room or 'core'}.sqlite"
    session.unlink(missing_ok=True)
    command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider -k 'not covers' {' '.join(TESTS[room])}"
    config.write_text(
        "[cosmic-ray]\n"
        f"module-path = {[str(m.relative_to(folder)) for m in modules]}\n"
        f'timeout = 60.0\nexcluded-modules = []\ntest-command = "{command}"\n'
        '[cosmic-ray.distributor]\nname = "local"\n',
        "utf-8",
    )
    tool = [sys.executable, "-c", "from cosmic_ray.cli import main; main()"]
    subprocess.run([*tool, "init", config.name, session.name], cwd=folder, check=True)
    left_to_mutmut = {}
    for module in modules:
        source = module.read_text("utf-8")
        left_to_mutmut[str(module.relative_to(folder))] = lines_of_mutmut(source) | annotation_lines(source)
    with databases.use_db(session, databases.WorkDB.Mode.open) as database:
        for item in list(database.pending_work_items):
            (mutation,) = item.mutations
            is_ours = mutation.start_pos[0] not in left_to_mutmut[str(mutation.module_path)]
            is_lower_number = mutation.operator_name == "core/NumberReplacer" and mutation.occurrence % 2
            if is_lower_number or not (is_ours and mutation.operator_name.startswith(OPERATORS)):
                database.set_result(item.job_id, items.WorkResult(worker_outcome=items.WorkerOutcome.SKIPPED))
    subprocess.run([*tool, "exec", config.name, session.name], cwd=folder, check=True)
    counts: dict[str, collections.Counter[str]] = {}
    with databases.use_db(session, databases.WorkDB.Mode.open) as database:
        for item, result in database.completed_work_items:
            if result.worker_outcome is not items.WorkerOutcome.SKIPPED:
                (mutation,) = item.mutations
                is_alive = result.test_outcome is items.TestOutcome.SURVIVED
                path = str(mutation.module_path)
                counts.setdefault(path, collections.Counter())["survived" if is_alive else "killed"] += 1
                if is_alive:
                    changed = [line for line in (result.diff or "").splitlines() if line[:1] in "+-"]
                    print(f"survived: {path}:{mutation.start_pos[0]}: {' '.join(changed[2:])}")
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print its table and the survivors."""
    parser = argparse.ArgumentParser(description="mutation testing of constants, properties and decorated functions")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutants-left-out", help="where it works")
    parser.add_argument("--room", choices=sorted(TESTS), action="append", help="only these")
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    lay_out(folder)
    durations = ROOT / "build" / "mutants" / "mutants" / "mutmut-stats.json"
    if durations.exists():
        shutil.copy(durations, folder)
    patterns = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["tool"]["mutmut"]["only_mutate"]
    found: dict[str, collections.Counter[str]] = {}
    for room in options.room or TESTS:
        modules = [
            path
            for pattern in patterns
            for path in sorted(folder.glob(pattern))
            if (pattern.split("/")[1] if pattern.count("/") > 1 else "") == room and path.name != "__init__.py"
        ]
        found |= run(folder, room, modules)
    print("| module | mutants | killed | timeout | survived | killed, % |\n|---|---:|---:|---:|---:|---:|")
    for module, counts in sorted(found.items()):
        print(row(f"`{module.removeprefix(PACKAGE + '/')}`", counts))
    print(row("all", sum(found.values(), collections.Counter())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
