"""Fuzz one reader, guided by coverage; a line of figures, and what was found.

python -m tests.attack.fuzzing TARGET [--minutes N] [--seed N] [--keep FOLDER] [--update]
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from multigraft.files import sha256_of
from tests.attack.fuzzing import corpus
from tests.attack.fuzzing.targets import NAMES, target

SECONDS_OF_ONE = 10
MEMORY_MIB = 1024
LONGEST = 32 << 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the inputs that ended badly")
    parser.add_argument("--update", action="store_true", help="replace the corpus by what was reached, minimised")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs, findings, ends = folder / "inputs", folder / "findings", folder / "ends"
        for path in (inputs, ends):
            path.mkdir()
        findings.touch()
        for data in [*target(options.target).seeds().values(), *corpus.load(options.target).values()]:
            (inputs / sha256_of(data)[:16]).write_bytes(data)
        executions, edges = _fuzz(options, inputs, findings, ends)
        found = _found(options.target, findings, ends, options.keep)
        print(
            f"{options.target:16}{options.minutes:8.1f} min{executions:12,} executions{edges:8,} edges"
            f"{len(found):5} findings"
        )
        for line in found:
            print(f"  {line}")
        if options.update:
            kept = corpus.save(options.target, _minimised(options.target, inputs, folder))
            print(f"  corpus: {kept} inputs")
    return int(bool(found))


def _command(name: str, findings: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.attack.fuzzing.worker", name, str(findings), *arguments]


def _fuzz(options: argparse.Namespace, inputs: Path, findings: Path, ends: Path) -> tuple[int, int]:
    """Executions, and edges that were reached; what ends the process is kept in ``ends``, and another goes on."""
    stop = time.monotonic() + 60 * options.minutes
    executions = edges = 0
    for number in range(100):
        left = int(stop - time.monotonic())
        if left < 1:
            break
        arguments = (
            str(inputs), f"-max_total_time={left}", f"-timeout={SECONDS_OF_ONE}", f"-rss_limit_mb={MEMORY_MIB}",
            f"-max_len={LONGEST}", f"-artifact_prefix={ends}/", f"-seed={options.seed + number}",
            "-print_final_stats=1",
        )  # fmt: skip
        ran = subprocess.run(
            _command(options.target, findings, "worker", *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )  # fmt: skip
        executed = re.search(r"number_of_executed_units: (\d+)", ran.stderr)
        lines = re.findall(r"^#(\d+)\s.*?cov: (\d+)", ran.stderr, re.MULTILINE)
        if not lines and executed is None:
            sys.exit(f"atheris did not start:\n{ran.stderr[-2000:]}")
        executions += int(executed[1]) if executed else int(lines[-1][0])
        edges = max([edges, *(int(covered) for _, covered in lines)])
        if ran.returncode == 0:
            break
    return executions, edges


def _found(name: str, findings: Path, ends: Path, keep: Path | None) -> list[str]:
    found: dict[str, bytes] = {}
    for line in findings.read_text("utf-8").splitlines():
        finding = json.loads(line)
        found.setdefault(f"{finding['where']}: {finding['text']}", bytes.fromhex(finding["input"]))
    for path in sorted(ends.iterdir()):
        found[f"{path.name.partition('-')[0]} of the process ({path.name[:24]})"] = path.read_bytes()
    if keep is not None and found:
        keep.mkdir(parents=True, exist_ok=True)
        for number, (text, data) in enumerate(found.items()):
            (keep / f"{name}-{number}").write_bytes(data)
            (keep / f"{name}-{number}.txt").write_text(text, "utf-8")
    return list(found)


def _minimised(name: str, inputs: Path, folder: Path) -> list[bytes]:
    merged = folder / "merged"
    merged.mkdir()
    again = folder / "again"
    again.write_text(f'#!/bin/sh\nexec {shlex.join(_command(name, folder / "findings"))} "$0" "$@"\n', "utf-8")
    again.chmod(0o755)
    subprocess.run(
        [again, "-merge=1", f"-max_len={corpus.LARGEST_INPUT}", str(merged), str(inputs)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return [path.read_bytes() for path in merged.iterdir()]


if __name__ == "__main__":
    sys.exit(main())
