"""Instructions a multiplication on processors without dot products: ``python -m tests.arm.instructions``.

The binary kernels, XNNPACK int8 and XNNPACK float32 compute the same convolution in the same interpreter, emulated by
qemu-user. A plugin (``count_instructions.c``) counts what they execute. Instructions are no time.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import debian_root
from tests.arm.root import ARM64, PROCESSORS, SITE, Processor, made, missing
from tests.benchmarks.binary_layers import SHAPES, binary, ordinary

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
QEMU = "qemu-aarch64"
GETPPID = 173
"""Its number on aarch64."""
A72 = next(one for one in PROCESSORS if one.name == "cortex-a72")
A53 = dataclasses.replace(A72, name="cortex-a53", part=0xD03, board="Raspberry Pi 3 Model B Rev 1.2")
TIMES = 3


def without() -> str | None:
    """Why nothing can be counted here; None where it can."""
    if shutil.which(QEMU) is None:
        return f"there is no {QEMU}, whose plugins count (the static one has none); run: apt install qemu-user"
    return None


def plugin(folder: Path) -> Path:
    """The plugin, compiled for this machine's QEMU."""
    told = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", told)
    # QEMU 9 takes plugins of interface 2 on; what is used here is the same in both.
    version = 1 if found and int(found[1]) < 9 else 2
    target = folder / "count_instructions.so"
    flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden")
    source = str(HERE / "count_instructions.c")
    debian_root.run("gcc", *flags, f"-DPLUGIN_VERSION={version}", source, "-o", str(target))
    return target


def counted(plugin: Path, processor: str, *program: str, sysroot: Path | None = None) -> list[int]:
    """Instructions from each first getppid of a pair to the second.

    Args:
        plugin: From :func:`plugin`.
        processor: As QEMU calls it.
        program: An aarch64 program and its arguments.
        sysroot: Where it finds files before it looks on this machine.

    Raises:
        RuntimeError: It failed, or called getppid an odd number of times.
    """
    inside = ("-L", str(sysroot)) if sysroot else ()
    command = [QEMU, "-cpu", processor, "-plugin", f"{plugin},getppid={GETPPID}", *inside, *program]
    variables = {"PATH": os.defpath, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    if sysroot is not None:
        variables["PYTHONPATH"] = str(sysroot / SITE)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    told = [int(line.split()[1]) for line in done.stderr.splitlines() if re.fullmatch(r"instructions \d+", line)]
    if done.returncode != 0 or not told or len(told) % 2:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return [behind - before for before, behind in zip(told[::2], told[1::2], strict=True)]


def rooted(root: Path, processor: Processor, folder: Path) -> Path:
    """A folder that looks like ``root`` on a board: XNNPACK reads there what processor it runs on."""
    place = folder / processor.name
    (place / "proc").mkdir(parents=True)
    (place / "proc" / "cpuinfo").write_text(processor.cpuinfo())
    for name in ("usr", "lib", "srv", "etc"):
        (place / name).symlink_to(root / name)
    return place


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=TIMES, help="runs of each layer that are counted")
    parser.add_argument("--mirror", help="of Debian, from which the root is made once")
    options = parser.parse_args()
    if (reason := without() or missing(ARM64)) is not None:
        print(f"Nothing was counted: {reason}.")
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = made(ARM64, debian_root.wheel_of(CHECKOUT, folder, ARM64.machine), options.mirror)
        library = root / SITE / "multigraft" / "runtime" / "delegate" / "libmultigraft_binary.so"
        count = plugin(folder)
        version = importlib.metadata.version("ai-edge-litert")
        print(f"Instructions a multiplication, 3x3, stride 1, one thread, least of {options.times} runs,")
        print(f"ai-edge-litert {version} under qemu-user")
        for processor in (A53, A72):
            place = rooted(root, processor, folder)
            for size, channels in SHAPES:
                models = {
                    "binary": binary(size, channels, "packed"),
                    "int8": ordinary(size, channels, "int8"),
                    "float32": ordinary(size, channels, "float32"),
                }
                said = []
                for kind, content in models.items():
                    path = folder / f"{kind}.tflite"
                    path.write_bytes(content)
                    delegate = str(library) if kind == "binary" else "none"
                    python = str(place / "usr" / "bin" / "python3")
                    inner = (python, str(HERE / "counted_runs.py"), str(path), str(options.times), delegate)
                    runs = counted(count, processor.name, *inner, sysroot=place)
                    said.append(f"{kind} {min(runs) / (size * size * channels * channels * 9):.3f}")
                print(f"{processor.name}  {size}x{size}x{channels:<5}{'  '.join(said)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
