"""Mutation testing with mutmut: faults are put into the code one by one, and each has to make a test fail.

mutmut wants one folder that is the package, and multigraft's folders are mapped to packages by setup.cfg. So the
package and the tests are laid out in a folder of their own, and mutmut runs there. A second run takes up what the first
one left: files that did not change keep their results.

Use: ``python -m tests.mutants.campaign [--folder FOLDER] [MODULE ...]``; see docs/mutants.md.
"""

from __future__ import annotations

import argparse
import collections
import configparser
import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PACKAGE = "multigraft"

CONFTEST = '''"""Written by the campaign: one failing example is enough, and the quickest test is asked first."""
import json
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutants",
    database=None, deadline=None, derandomize=True, max_examples=30,
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
)
settings.load_profile("mutants")


def pytest_collection_modifyitems(items):
    path = Path("mutmut-stats.json")
    if path.exists():
        seconds = json.loads(path.read_text())["duration_by_test"]
        items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
'''


def lay_out(folder: Path) -> None:
    """Copy package and tests to ``folder`` as setup.cfg maps them; files that are the same keep their times."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    places = dict(line.split(" = ") for line in setup["options"]["package_dir"].split("\n") if line)
    for package, source in sorted(places.items()):
        _copy(ROOT / source, folder / package.replace(".", "/"))
    _copy(ROOT / "tests", folder / "tests")
    _write(folder / "pyproject.toml", (HERE / "mutmut.toml").read_text("utf-8"))
    _write(folder / "conftest.py", CONFTEST)


def _copy(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            # An assertion that no input reaches: without it, three mutants of every zip would be equal to the original.
            content = path.read_bytes().replace(b", strict=True)", b")") if path.suffix == ".py" else path.read_bytes()
            _write(target / path.relative_to(source), content)


def _write(target: Path, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    if not target.exists() or target.read_bytes() != data:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def results(folder: Path) -> dict[str, dict[str, str]]:
    """Module (file in the package) to its mutants and how each ended."""
    # Imported by name, since it need not be installed where types are checked.
    status_by_exit_code = importlib.import_module("mutmut.stats").status_by_exit_code
    found = {}
    for path in sorted((folder / "mutants" / PACKAGE).rglob("*.py.meta")):
        codes = json.loads(path.read_text("utf-8"))["exit_code_by_key"]
        if codes:
            name = str(path.relative_to(folder / "mutants")).removesuffix(".meta")
            found[name] = {mutant: status_by_exit_code[code] for mutant, code in codes.items()}
    return found


def survivors(found: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    """Mutants that no test noticed, or that no run got to, and what is known of them."""
    return [(m, s) for mutants in found.values() for m, s in mutants.items() if s not in ("killed", "timeout")]


def table(found: dict[str, dict[str, str]]) -> str:
    """The Markdown table of docs/mutants.md."""
    lines = ["| module | mutants | killed | timeout | survived | killed, % |", "|---|---:|---:|---:|---:|---:|"]
    whole: collections.Counter[str] = collections.Counter()
    for module, mutants in found.items():
        counts = collections.Counter(mutants.values())
        whole += counts
        lines.append(row(f"`{module.removeprefix(PACKAGE + '/')}`", counts))
    lines.append(row("all", whole))
    return "\n".join(lines)


def row(name: str, counts: collections.Counter[str]) -> str:
    """One line of the table."""
    total = counts.total()
    ended = counts["killed"] + counts["timeout"]
    lived = total - ended
    return f"| {name} | {total} | {counts['killed']} | {counts['timeout']} | {lived} | {100 * ended / total:.1f} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign and print its table and the names of the survivors."""
    parser = argparse.ArgumentParser(description="mutation testing of the modules that docs/mutants.md names")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutants", help="where it works and is resumed")
    parser.add_argument("--children", type=int, default=2, help="mutants that are tried at a time")
    parser.add_argument("--again", action="store_true", help="try the survivors of an earlier run again")
    parser.add_argument("--show", action="store_true", help="print the table of what ran so far and the survivors")
    parser.add_argument("mutants", nargs="*", help="names or patterns; these are tried again")
    options = parser.parse_args(arguments)
    if not options.show:
        lay_out(options.folder)
        command = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()", "run"]
        names = options.mutants or ([m for m, _ in survivors(results(options.folder))] if options.again else [])
        command += ["--max-children", str(options.children), *names]
        done = subprocess.run(command, cwd=options.folder, check=False)
        if done.returncode:
            return done.returncode
    found = results(options.folder)
    print(table(found))
    for mutant, status in survivors(found):
        print(f"{status}: {mutant}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
