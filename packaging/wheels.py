"""One wheel per processor, each with the delegate's library in it: ``make wheels``.

    python packaging/wheels.py [--only aarch64] [--output dist]

Takes the packages ``build``, ``setuptools``, ``wheel``, ``ziglang`` and ``pyelftools``. Zig brings a C compiler and
glibc's symbols of any version for every processor, so no machine of that kind is needed. The library depends on neither
Python nor the interpreter, which is why one wheel serves all versions of both.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = "multigraft/runtime/delegate/libmultigraft_binary.so"
EXPORTED = {"multigraft_binary_kernels", "tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate"}
TAKEN = ("libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux")
"""What manylinux2014 has everywhere, of what the library may link to."""
GLIBC = (2, 17)


@dataclass(frozen=True)
class Processor:
    """A wheel's processor.

    Attributes:
        name: As in a wheel's tag.
        target: What zig calls it.
        flags: For all C files.
        machine: As in an ELF file.
    """

    name: str
    target: str
    flags: str
    machine: str


PROCESSORS = (
    Processor("x86_64", "x86_64-linux-gnu.2.17", "-mcpu=x86_64", "EM_X86_64"),
    Processor("aarch64", "aarch64-linux-gnu.2.17", "-mcpu=generic", "EM_AARCH64"),
    # VFPv3 with 16 registers is what Debian's armhf demands: NEON is asked for when it runs (setup.py).
    Processor("armv7l", "arm-linux-gnueabihf.2.17", "-mcpu=generic+v7a+vfp3d16", "EM_ARM"),
)
NEON_FLAGS = "-mcpu=generic+v7a+neon"


def sources(folder: Path) -> Path:
    """The source distribution, unpacked: what a wheel is made of has nothing of another processor in it."""
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def made(processor: Processor, source: Path, output: Path) -> Path:
    """Build one wheel."""
    compiler = f"{sys.executable} -m ziglang cc -target {processor.target} {processor.flags}"
    environment = {
        **os.environ,
        "CC": compiler,
        "MULTIGRAFT_PROCESSOR": processor.name,
        "MULTIGRAFT_NEON_FLAGS": NEON_FLAGS,
    }
    options = [f"--build-option={part}" for part in ("--plat-name", f"manylinux2014_{processor.name}")]
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(output)]
    command += [f"--config-setting={option}" for option in options]
    subprocess.run([*command, str(source)], check=True, env=environment, stdout=subprocess.DEVNULL)
    (wheel,) = output.glob(f"multigraft-*-py3-none-manylinux2014_{processor.name}.whl")
    return wheel


def faults_of(wheel: Path, processor: Processor) -> list[str]:
    """What is wrong with a wheel's library; nothing if it loads on every system that the tag promises."""
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as name:
        if LIBRARY not in archive.namelist():
            return [f"holds no {LIBRARY}: it was not compiled"]
        with Path(archive.extract(LIBRARY, name)).open("rb") as file:
            elf = ELFFile(file)
            faults = [] if elf["e_machine"] == processor.machine else [f"is for {elf['e_machine']}"]
            dynamic = elf.get_section_by_name(".dynamic")
            assert isinstance(dynamic, DynamicSection)
            needed = [tag.needed for tag in dynamic.iter_tags() if tag.entry.d_tag == "DT_NEEDED"]
            faults += [f"links to {name}" for name in needed if not name.startswith(TAKEN)]
            versions = elf.get_section_by_name(".gnu.version_r")
            asked = {
                version.name
                for _, all_of in (versions.iter_versions() if isinstance(versions, GNUVerNeedSection) else ())
                for version in all_of
            }
            for version in sorted(asked):
                numbers = re.fullmatch(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?", version)
                if numbers is None or tuple(map(int, numbers.groups())) > GLIBC:
                    faults.append(f"asks for {version}")
            symbols = elf.get_section_by_name(".dynsym")
            shown = {
                symbol.name
                for symbol in symbols.iter_symbols()
                if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] == "STB_GLOBAL"
            }
            if shown - {"_init", "_fini"} != EXPORTED:
                faults.append(f"exports {', '.join(sorted(shown))}")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=[processor.name for processor in PROCESSORS])
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    bad = 0
    for processor in PROCESSORS:
        if arguments.only in (None, processor.name):
            with tempfile.TemporaryDirectory() as name:
                wheel = made(processor, sources(Path(name)), arguments.output)
            faults = faults_of(wheel, processor)
            print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {'; '.join(faults) or 'as it has to be'}", flush=True)
            bad += bool(faults)
    return bad


if __name__ == "__main__":
    sys.exit(main())
