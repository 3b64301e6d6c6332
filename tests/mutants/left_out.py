"""Mutation testing of what mutmut leaves out: constants of modules and classes, properties, decorated functions.

cosmic-ray changes one line at a time in a copy of the package and runs the tests of that room in a process of its own,
which takes seconds instead of a part of one; so it gets only the lines that mutmut does not change.

Use: ``python -m tests.mutants.left_out [--folder FOLDER]``; see docs/mutants.md.
"""

from __future__ import annotations

import argparse
import ast
import collections
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mutants.campaign import PACKAGE, ROOT, lay_out, row

TESTS = {
    "agreement": ["tests/core/agreement"],
    "bundle": ["tests/core/bundle"],
    "refit": ["tests/core/refit"],
    "statistics": ["tests/core/statistics"],
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
"""Beginnings of the names of cosmic-ray's operators that stay; annotations such as ``A | B`` are no arithmetic."""


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


def annotations(source: str) -> set[int]:
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
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

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
        left_to_mutmut[str(module.relative_to(folder))] = lines_of_mutmut(source) | annotations(source)
    with use_db(session, WorkDB.Mode.open) as database:
        for item in list(database.pending_work_items):
            (mutation,) = item.mutations
            is_ours = mutation.start_pos[0] not in left_to_mutmut[str(mutation.module_path)]
            if not (is_ours and mutation.operator_name.startswith(OPERATORS)):
                database.set_result(item.job_id, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
    subprocess.run([*tool, "exec", config.name, session.name], cwd=folder, check=True)
    counts: dict[str, collections.Counter[str]] = {}
    with use_db(session, WorkDB.Mode.open) as database:
        for item, result in database.completed_work_items:
            if result.worker_outcome is not WorkerOutcome.SKIPPED:
                (mutation,) = item.mutations
                is_alive = result.test_outcome is TestOutcome.SURVIVED
                module = str(mutation.module_path)
                counts.setdefault(module, collections.Counter())["survived" if is_alive else "killed"] += 1
                if is_alive:
                    changed = [line for line in (result.diff or "").splitlines() if line[:1] in "+-"]
                    print(f"survived: {module}:{mutation.start_pos[0]}: {' '.join(changed[2:])}")
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print its table and the survivors."""
    parser = argparse.ArgumentParser(description="mutation testing of constants, properties and decorated functions")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutants-left-out", help="where it works")
    parser.add_argument("--room", choices=sorted(TESTS), action="append", help="only these")
    options = parser.parse_args(arguments)
    lay_out(options.folder)
    patterns = tomllib.loads((options.folder / "pyproject.toml").read_text("utf-8"))["tool"]["mutmut"]["only_mutate"]
    found: dict[str, collections.Counter[str]] = {}
    for room in options.room or TESTS:
        modules = [
            path
            for pattern in patterns
            for path in sorted(options.folder.glob(pattern))
            if (pattern.split("/")[1] if pattern.count("/") > 1 else "") == room and path.name != "__init__.py"
        ]
        found |= run(options.folder, room, modules)
    print("| module | mutants | killed | timeout | survived | killed, % |\n|---|---:|---:|---:|---:|---:|")
    for module, counts in sorted(found.items()):
        print(row(f"`{module.removeprefix(PACKAGE + '/')}`", counts))
    print(row("all", sum(found.values(), collections.Counter())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
