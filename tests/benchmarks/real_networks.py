"""Network files from a folder, each from import to int8 and beside what onnx2tf makes of it alone.

``python -m tests.benchmarks real_networks FOLDER... [--frames FILE.npz] [--results FILE.json] [--quick]``: opt-in: it
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.network_row import FILE

SECONDS = 900
SUFFIXES = (".onnx", ".tflite")
_COLUMNS = (
    "network", "parameters", "through", "import + float + int8 (s; CPU)", "memory (MiB)", "float error (rounding)",
    "int8 agreement", "int8 SQNR (dB)", "bare onnx2tf", "operators: bare, with rewrites, ours", "latency (ms)",
    "int8 (ms)",
)  # fmt: skip


def run(arguments: Sequence[str]) -> None:
    """Measure what the command line names, and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks real_networks")
    parser.add_argument("folders", nargs="+", type=Path, help="folders or files; folders are searched through")
    parser.add_argument("--frames", type=Path, help="pictures (.npz or .npy) in place of synthetic ones")
    parser.add_argument("--results", type=Path, help="where results are kept (default: a file for temporary use)")
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
    print_table(list(rows.values()))


def _files(places: Sequence[Path]) -> list[Path]:
    found = [f for p in places for f in ([p] if p.is_file() else p.rglob("*")) if f.suffix.lower() in SUFFIXES]
    return sorted(found, key=lambda f: (f.name, f))


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
    return row | {"memory_mib": used.ru_maxrss // 1024, "seconds": round(time.perf_counter() - started, 1)}


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Markdown, and how many went through."""
    through = [r for r in rows if r["outcome"] == "through"]
    print(f"\n{len(through)} of {len(rows)} files through; Python {platform.python_version()}, {_machine()}\n")
    print("| " + " | ".join(_COLUMNS) + " |")
    print("|---" * len(_COLUMNS) + "|")
    for row in rows:
        print("| " + " | ".join(_cells(row)) + " |")


def _cells(row: dict[str, Any]) -> list[str]:
    steps = row.get("steps", {})
    names = [n for n in ("import", "float", "int8") if n in steps]
    times = " + ".join(f"{steps[n][0]:.1f}" for n in names) + f"; {sum(steps[n][1] for n in names):.1f}"
    ways = ("bare", "onnx2tf", "ours")
    operators, latency = row.get("operators", {}), row.get("latency_us", {})
    return [
        row["name"],
        f"{row['parameters']:,}" if row.get("parameters") else "",
        "yes" if row["outcome"] == "through" else row["outcome"],
        times if names else "",
        str(row["memory_mib"]),
        _shown(row.get("float_error"), "{:.0e}") + _shown(row.get("rounding"), " ({:.0e})"),
        _shown(row.get("agreement"), "{:.3f}") + (" (10 %)" if row.get("agreement_kind") == "other" else ""),
        _shown(row.get("sqnr_db"), "{:.1f}"),
        row.get("bare") or "",
        ", ".join(str(operators.get(w, "–")) for w in ways),
        ", ".join(f"{latency[w] / 1000:.2f}" if w in latency else "–" for w in ways),
        f"{latency['int8'] / 1000:.2f}" if "int8" in latency else "",
    ]


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _machine() -> str:
    import ai_edge_litert
    import onnxruntime

    versions = f"ai-edge-litert {getattr(ai_edge_litert, '__version__', '')}, onnxruntime {onnxruntime.__version__}"
    return f"{platform.machine()}, {os.cpu_count()} cores, {versions}"
