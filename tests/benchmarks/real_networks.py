"""Network files from a folder, each from import to int8 and beside what onnx2tf makes of it alone.

``python -m tests.benchmarks real_networks FOLDER... [--frames FILE.npz] [--results FILE.json]``: opt-in: it
needs files that are not in the repository. A line a file as soon as it is known, then the table; what is in the file of
results is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.network_row import FILE

SECONDS = 900
THROUGH = "through"
SUFFIXES = (".onnx", ".tflite")
_COLUMNS = (
    "network", "input", "parameters", "through", "import + float + int8 (s; CPU)", "memory (MiB)",
    "float error (rounding)", "int8: agreement, SQNR (dB)", "onnx2tf alone",
    "operators: alone, with rewrites, cleaned, int8", "latency: likewise (ms)",
)  # fmt: skip


def run(arguments: Sequence[str]) -> None:
    """Measure what the command line names, and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks real_networks")
    parser.add_argument("folders", nargs="+", type=Path, help="folders or files; folders are searched through")
    parser.add_argument("--frames", type=Path, help="pictures (.npz or .npy) in place of synthetic ones")
    parser.add_argument("--results", type=Path, help="where results are kept (default: a file for temporary use)")
    parser.add_argument("--beside", type=Path, help="results of another Python, for a column of their outcomes")
    parser.add_argument("--quick", action="store_true", help="few frames, and nothing about bare onnx2tf")
    options = parser.parse_args(arguments)
    more = [f"--frames={options.frames}"] if options.frames else []
    more += ["--count=8", "--no-bare"] if options.quick else []
    with tempfile.TemporaryDirectory(prefix="multigraft-bench-") as folder:
        results = options.results or Path(folder) / "results.json"
        rows: dict[str, Any] = json.loads(results.read_text()) if results.is_file() else {}
        for path in _files(options.folders):
            key = f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
            if key not in rows:
                with tempfile.TemporaryDirectory(prefix="multigraft-bench-") as place:
                    rows[key] = measure(path, Path(place), more)
                results.write_text(json.dumps(rows, indent=1))
            print(f"{rows[key]['name']}: {rows[key]['outcome']}", file=sys.stderr)
    print_table(rows, json.loads(options.beside.read_text()) if options.beside else {})


def _files(places: Sequence[Path]) -> list[Path]:
    """In the order in which they are given, those of a folder by name."""
    found = [f for p in places for f in ([p] if p.is_file() else sorted(p.rglob("*"), key=lambda f: (f.name, f)))]
    return list(dict.fromkeys(f for f in found if f.suffix.lower() in SUFFIXES))


def measure(path: Path, place: Path, options: Sequence[str]) -> dict[str, Any]:
    """One row, in processes of its own; ``memory_mib`` is the largest of them."""
    command = [sys.executable, "-m", "tests.benchmarks.one_network", str(path), str(place), *options]
    log = place / "log"
    started = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, preexec_fn=_limit)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    written = place / FILE
    if written.is_file():
        row: dict[str, Any] = json.loads(written.read_text())
    else:
        words = log.read_text(errors="replace").strip().splitlines() or [""]
        row = {"name": path.name, "outcome": f"ended with {process.returncode}: {words[-1]}"}
    row["outcome"] = row["outcome"].replace(f"{path.parent}/", "")
    row["python"] = platform.python_version()
    return row | {"memory_mib": used.ru_maxrss // 1024, "seconds": round(time.perf_counter() - started, 1)}


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def print_table(rows: Mapping[str, dict[str, Any]], beside: Mapping[str, dict[str, Any]]) -> None:
    """Markdown, and how many went through; ``beside`` are the same files under another Python, or none."""
    for some in filter(None, (rows, beside)):
        through = [r for r in some.values() if r["outcome"] == THROUGH]
        python = next((r["python"] for r in some.values()), "")
        print(f"\n{len(through)} of {len(some)} files through; Python {python}, {_machine()}")
    other = [f"Python {next(r['python'] for r in beside.values())}"] if beside else []
    print("\n| " + " | ".join([*_COLUMNS, *other]) + " |")
    print("|---" * len([*_COLUMNS, *other]) + "|")
    for key, row in sorted(rows.items(), key=lambda item: item[0].casefold()):
        more = [_outcome(beside[key]) if key in beside else "not tried"] if beside else []
        print("| " + " | ".join([*_cells(row), *more]) + " |")


def _outcome(row: dict[str, Any]) -> str:
    return "yes" if row["outcome"] == THROUGH else str(row["outcome"]).replace("|", "\\|")


def _cells(row: dict[str, Any]) -> list[str]:
    steps = row.get("steps", {})
    names = [n for n in ("import", "float", "int8") if n in steps]
    times = " + ".join(f"{steps[n][0]:.1f}" for n in names) + f"; {sum(steps[n][1] for n in names):.1f}"
    ways = ("bare", "onnx2tf", "ours", "int8")
    operators, latency = row.get("operators", {}), row.get("latency_us", {})
    agreed = _shown(row.get("agreement"), "{:.2f}") + ("*" if row.get("agreement_kind") == "other" else "")
    return [
        row["name"],
        " x ".join(map(str, row.get("size") or ())),
        f"{row['parameters']:,}" if row.get("parameters") else "",
        _outcome(row),
        times if names else "",
        str(row["memory_mib"]),
        _shown(row.get("float_error"), "{:.0e}") + _shown(row.get("rounding"), " ({:.0e})"),
        agreed + _shown(row.get("sqnr_db"), ", {:.0f}") if row.get("agreement") is not None else "",
        row.get("bare") or "",
        ", ".join(str(operators.get(w, "–")) for w in ways) if operators else "",
        ", ".join(f"{latency[w] / 1000:.2f}" if w in latency else "–" for w in ways) if latency else "",
    ]


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _machine() -> str:
    import ai_edge_litert
    import onnxruntime

    versions = f"ai-edge-litert {getattr(ai_edge_litert, '__version__', '')}, onnxruntime {onnxruntime.__version__}"
    return f"{platform.machine()}, {os.cpu_count()} cores, {versions}"
