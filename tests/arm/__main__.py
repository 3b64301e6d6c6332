"""Runs the device tests on emulated processors, and answers this machine's bundles there.

python -m tests.arm arm64|armhf [--processor NAME] [--only WORD] [--bundle FILE] [--wheel FILE] [--demo]

The network is needed once. This is an emulation: what is right there is right, how long it takes says nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multigraft.converters.demo.data import demo_folder
from multigraft.runtime.self_test import MAX_FLOAT, MAX_LSB
from tests import debian_root
from tests.arm import answers, kernels
from tests.arm.chosen import SINGLE, arguments, chosen
from tests.arm.root import ARM64, ARMV7, PROCESSORS, Processor, command, made, missing

CHECKOUT = Path(__file__).resolve().parents[2]
LOGS = CHECKOUT / "build" / "arm"
ARCHITECTURES = {kind.debian: kind for kind in (ARM64, ARMV7)}


def judged(seen: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Whether a bundle's answers there keep what the self-test promises, and how far they are from those here."""
    for bundle, interpreters in seen.items():
        for interpreter, found in interpreters.items():
            is_right = found["most_lsb"] <= MAX_LSB and found["relative"] <= MAX_FLOAT
            figures = f"{found['unequal']} of {found['values']} values differ, at most {found['most_lsb']} LSB"
            if not found["values"]:
                figures = f"at most {found['relative']:.1e} of the range"
            yield (
                is_right,
                (
                    f"{bundle} on {interpreter}: {figures}; top class the same in {found['same_class']:.1%}; "
                    f"XNNPACK {'on' if found['delegate'] else 'off'}{'; by its fallback' if found['fallback'] else ''}"
                ),
            )


def answered(root: Path, processor: Processor, folder: Path) -> bool:
    """Let every interpreter there answer the bundles of a folder; True if they keep to the promise."""
    is_well = True
    for litert in processor.architecture.litert or (None,):
        inner = ("/usr/bin/python3", "-m", "tests.arm.answers", "compare", "/srv/results")
        line = command(root, processor, CHECKOUT, folder, *inner, litert=litert)
        done = subprocess.run(line, capture_output=True, text=True, timeout=1200, check=False)
        if done.returncode != 0:
            print(f"BAD  {processor.name}, ai-edge-litert {litert}:\n{done.stderr[-2000:]}")
            is_well = False
            continue
        for is_right, what in judged(json.loads(done.stdout.splitlines()[-1])):
            print("ok  " if is_right else "BAD ", f"{processor.name}: {what}", flush=True)
            is_well &= is_right
    return is_well


def tested(
    root: Path, processor: Processor, folder: Path, litert: str | None, files: list[str], processes: int
) -> bool:
    """Run tests there, with what they say in a file of :data:`LOGS` while they run; True if all passed."""
    begin = time.monotonic()
    options = ["-v", "-rs", "-p", "no:cacheprovider", "-p", "tests.arm.fewer", "--durations=25"]
    if processes > 1:
        options += ["-n", str(processes), "--dist", "loadfile"]
    options += [f"--deselect={test}" for test in SINGLE]
    inner = ["/usr/bin/python3", "-m", "pytest", *options, *arguments(files)]
    line = command(root, processor, CHECKOUT, folder, *inner, litert=litert)
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{processor.name}.txt"
    with log.open("wb") as stream:
        done = subprocess.run(line, stdout=stream, stderr=subprocess.STDOUT, check=False)
    text = log.read_text("utf-8", errors="replace")
    last = next((line for line in reversed(text.splitlines()) if re.search("passed|failed|error", line)), text[-500:])
    is_well = done.returncode == 0
    if not is_well:
        print(text[-12000:])
    interpreter = f"ai-edge-litert {litert}" if litert else "tflite-runtime alone"
    print(
        "ok  " if is_well else "BAD ",
        f"{processor.name} with {interpreter}: {len(files)} files, "
        f"{last.strip('= ')} ({time.monotonic() - begin:.0f} s)",
        flush=True,
    )
    return is_well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architecture", choices=ARCHITECTURES)
    parser.add_argument("--processor", choices=[processor.name for processor in PROCESSORS], help="this one only")
    parser.add_argument(
        "--only",
        metavar="WORD",
        default="",
        help="only test files with this in their names; none if there are none",
    )
    parser.add_argument("--processes", type=int, default=1, help="that run tests; each looks through all files first")
    parser.add_argument("--bundle", type=Path, action="append", default=[], help="answer this one, too")
    parser.add_argument(
        "--wheel",
        type=Path,
        help="is installed in place of one that is made of this checkout",
    )
    parser.add_argument("--mirror", help="of Debian, from which the root is made once")
    parser.add_argument("--demo", action="store_true", help="make the demo's bundle and answer it, too (minutes)")
    options = parser.parse_args()
    architecture = ARCHITECTURES[options.architecture]
    if (reason := missing(architecture)) is not None:
        print(f"Nothing was run: {reason}.")
        return 2
    is_well = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = options.wheel or debian_root.wheel_of(CHECKOUT, folder, architecture.machine)
        root = made(architecture, wheel.absolute(), options.mirror)
        bundles = list(options.bundle)
        if options.demo:
            debian_root.run(sys.executable, "-m", "multigraft.cli.main", "demo", "-o", str(folder / "demo"))
            bundles += sorted((folder / "demo").glob("*.graft"))
            binary = folder / "digit-binary.graft"
            network = str(demo_folder() / "networks" / "digit_binary.onnx")
            # Without a fallback, whose answers would say nothing of the delegate.
            asked = ("--precision", "binary", "--no-fallback", "-o", str(binary))
            debian_root.run(sys.executable, "-m", "multigraft.cli.main", "convert", network, *asked)
            bundles.append(binary)
        results = folder / "results"
        results.mkdir()
        answers.make(results, bundles)
        files = [file for file in chosen(CHECKOUT, architecture is ARMV7) if options.only in file]
        wanted = [processor for processor in PROCESSORS if processor.architecture is architecture]
        for number, processor in enumerate(wanted):
            if options.processor in (None, processor.name):
                # Each version of the interpreter on one processor; each processor answers with all of them.
                versions = architecture.litert
                is_well &= answered(root, processor, results)
                is_equal, said = kernels.compared(processor, CHECKOUT, folder)
                print("ok  " if is_equal else "BAD ", f"{processor.name}: {'; '.join(said)}", flush=True)
                is_well &= is_equal
                if files:
                    litert = versions[number % len(versions)] if versions else None
                    is_well &= tested(root, processor, results, litert, files, options.processes)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
