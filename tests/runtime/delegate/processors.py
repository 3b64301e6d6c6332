"""Runs the delegate's tests on emulated x86-64 processors that lack what this one has: ``make x86``.

    python -m tests.runtime.delegate.processors [--processor NAME]

qemu-user gives this machine's own Python a processor without AVX-512 or without AVX2, so that interpreter, numpy and
delegate see what they would see there. This is an emulation: how long it takes says nothing.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
QEMU = "qemu-x86_64"
PROCESSORS = {"Haswell": ("avx2", "portable"), "Westmere": ("portable",)}
"""As qemu calls them, to the kernels that the delegate has to find there, fastest first."""
_FOUND = "from multigraft.runtime.delegate.library import available_kernels; print(*available_kernels())"
_TESTS = ("tests/runtime/delegate/test_delegate.py",)


def _python(processor: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [QEMU, "-cpu", processor, sys.executable, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def judge(processor: str) -> bool:
    """Print what a processor found and how its tests ended; True if all is well."""
    found = tuple(_python(processor, "-c", _FOUND).stdout.split())
    options = ("-q", "-p", "no:cacheprovider", "-p", "tests.arm.fewer")
    tested = _python(processor, "-m", "pytest", *options, *_TESTS)
    last = next((x for x in reversed(tested.stdout.splitlines()) if re.search("passed|failed|error", x)), tested.stderr)
    is_well = found == PROCESSORS[processor] and tested.returncode == 0
    if not is_well:
        print(tested.stdout[-6000:], tested.stderr[-2000:])
    print("ok  " if is_well else "BAD ", f"{processor}: kernels {', '.join(found)}; {last.strip('= ')}", flush=True)
    return is_well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processor", choices=PROCESSORS, help="this one only")
    options = parser.parse_args()
    if shutil.which(QEMU) is None:
        print(f"Nothing was run: there is no {QEMU}; run: apt install qemu-user")
        return 2
    chosen = [options.processor] if options.processor else list(PROCESSORS)
    is_well = [judge(processor) for processor in chosen]
    return 0 if all(is_well) else 1


if __name__ == "__main__":
    sys.exit(main())
