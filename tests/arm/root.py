"""A Debian 12 of another processor in a folder, and what runs in it under qemu-user.

Nothing of this machine changes: the processor's programs are started by qemu inside a user namespace of their own.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests import debian_root

PACKAGES = "base-files,python3,libstdc++6,coreutils,dash,libc-bin,util-linux,git,openssh-client"
TESTING = ("pytest", "pytest-xdist", "hypothesis", "flatbuffers", "uvicorn", "prometheus-client", "pyserial")
OLD_LITERT = "2.1.2"
"""The oldest that is tested."""
SITE = Path("srv") / "site"
INSIDE = Path(__file__).parent / "inside.sh"


@dataclass(frozen=True)
class Architecture:
    """A kind of processor.

    Attributes:
        debian: Debian's name.
        machine: The kernel's name.
        qemu: What emulates it.
        magic: How its programs begin, as binfmt_misc takes it, and which bits count.
        packages: Of Debian, beside :data:`PACKAGES`.
        wheels: Of the package index.
        litert: Versions of ai-edge-litert; the first is the one that tests find.
    """

    debian: str
    machine: str
    qemu: str
    magic: tuple[str, str]
    packages: str
    wheels: tuple[str, ...]
    litert: tuple[str, ...]


@dataclass(frozen=True)
class Processor:
    """A processor, and a board that has it.

    Attributes:
        name: As qemu calls it.
        architecture: Its kind.
        part: Its number in the MIDR register.
        variant: Its revision there.
        features: As Linux lists them.
        board: In words.
    """

    name: str
    architecture: Architecture
    part: int
    variant: int
    features: str
    board: str

    def cpuinfo(self) -> str:
        """What /proc/cpuinfo says on the board: XNNPACK reads it, and qemu-user shows that of the machine below it."""
        core = (
            "processor\t: {number}\nBogoMIPS\t: 108.00\n"
            f"Features\t: {self.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: {8 if self.architecture is ARM64 else 7}\n"
            f"CPU variant\t: {self.variant:#x}\nCPU part\t: {self.part:#05x}\nCPU revision\t: 3\n\n"
        )
        return "".join(core.format(number=number) for number in range(4)) + f"Model\t\t: {self.board}\n"


_MASK64 = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
ARM64 = Architecture(
    "arm64", "aarch64", "qemu-aarch64-static",
    (r"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00", _MASK64),
    "", ("numpy==1.26.4", "pillow", "tflite-runtime==2.14.0", "py-minisign", "edgefirst-tracker"),
    (importlib.metadata.version("ai-edge-litert"), OLD_LITERT),
)  # fmt: skip
ARMV7 = Architecture(
    "armhf", "armv7l", "qemu-arm-static",
    (r"\x7f\x45\x4c\x46\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00", _MASK64),
    ",python3-numpy,python3-pil", ("tflite-runtime==2.14.0",), (),
)  # fmt: skip
_V8 = "fp asimd evtstrm crc32 cpuid"
_V82 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
_V7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"
PROCESSORS = (
    Processor("cortex-a72", ARM64, 0xD08, 0, _V8, "Raspberry Pi 4 Model B Rev 1.4"),
    Processor("cortex-a76", ARM64, 0xD0B, 4, _V82, "Raspberry Pi 5 Model B Rev 1.0"),
    Processor("cortex-a7", ARMV7, 0xC07, 0, _V7, "Raspberry Pi 2 Model B Rev 1.1"),
)


def missing(architecture: Architecture) -> str | None:
    """What stands in the way here, None if nothing does."""
    compiler = debian_root.COMPILERS[architecture.machine]
    needed = (
        ("mmdebstrap", "mmdebstrap"),
        (architecture.qemu, "qemu-user-static"),
        (compiler, f"gcc-{compiler.removesuffix('-gcc')} libc6-dev-{architecture.debian}-cross"),
    )
    for tool, package in needed:
        if shutil.which(tool) is None:
            return f"there is no {tool}; run: apt install {package}"
    probe = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "binfmt_misc", "none", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        return "a user namespace with formats of programs of its own takes Linux 6.7"
    return None


def made(architecture: Architecture, wheel: Path, mirror: str | None = None) -> Path:
    """The root with this checkout's wheel in it; the network is needed once.

    Args:
        architecture: Its kind.
        wheel: The checkout's.
        mirror: Debian's archive that is taken in place of what mmdebstrap takes by itself.
    """
    root = debian_root.cache(f"{architecture.debian}-debian12")
    # Unpacked only: no script of a package is run.
    unpacked = ("mmdebstrap", "--variant=extract", f"--architectures={architecture.debian}")
    include = f"--include={PACKAGES}{architecture.packages}"
    debian_root.made_once(root, *unpacked, include, "bookworm", further=(mirror,) if mirror else ())
    site = root / SITE
    asked = repr((architecture.wheels, TESTING, architecture.litert))
    stamp = root / "srv" / "packages.sha256"
    needed = hashlib.sha256(asked.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != needed:
        shutil.rmtree(root / "srv", ignore_errors=True)
        interpreters = [f"ai-edge-litert=={version}" for version in architecture.litert]
        # Debian's numpy, where there is no wheel of it, is none that pip would find.
        alone = ("--no-deps",) if "numpy" in architecture.packages else ()
        debian_root.install(site, *TESTING, machine=architecture.machine)
        debian_root.install(site, *alone, *architecture.wheels, *interpreters[:1], machine=architecture.machine)
        for version, wanted in zip(architecture.litert[1:], interpreters[1:], strict=True):
            debian_root.install(root / _litert(version), "--no-deps", wanted, machine=architecture.machine)
        if not architecture.litert:
            _give_schema(site)
        _compile(root, architecture, wheel.parent)
        stamp.write_text(needed)
    (root / "usr" / "lib" / "python3" / "dist-packages" / "site.pth").write_text(f"/{SITE}\n")
    debian_root.install_wheel(site, wheel, architecture.machine)
    return root


def command(
    root: Path, processor: Processor, checkout: Path, folder: Path, *inner: str, litert: str | None = None
) -> list[str]:
    """How to run something in a root.

    Args:
        root: What :func:`made` gave.
        processor: On which.
        checkout: The repository; it is found at /srv/checkout, which is where ``inner`` starts.
        folder: Found at /srv/results.
        inner: The command and its arguments.
        litert: Version of ai-edge-litert to be found.
    """
    (folder / f"{processor.name}.cpuinfo").write_text(processor.cpuinfo())
    # Nothing of this machine's environment goes in.
    variables = [
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        f"QEMU_CPU={processor.name}",
        "PYTHONDONTWRITEBYTECODE=1",
        "HOME=/tmp",
        "LANG=C.UTF-8",
    ]
    if litert is not None and litert != processor.architecture.litert[0]:
        variables.append(f"PYTHONPATH=/{_litert(litert)}")
    if processor.architecture is ARMV7:
        # Debian makes links of these in a script, and none was run.
        libraries = "/usr/lib/arm-linux-gnueabihf"
        variables.append(f"LD_LIBRARY_PATH={libraries}/blas:{libraries}/lapack")
    apart = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    magic, mask = processor.architecture.magic
    about = [str(root), magic, mask, str(shutil.which(processor.architecture.qemu)), str(checkout), str(folder)]
    return ["env", "-i", *variables, *apart, "sh", str(INSIDE), *about, processor.name, *inner]


def _compile(root: Path, architecture: Architecture, folder: Path) -> None:
    """Compile what was unpacked: tests start hundreds of Pythons, each of which would compile what it imports."""
    processor = next(one for one in PROCESSORS if one.architecture is architecture)
    where = ("/usr/lib/python3.11", "/usr/lib/python3/dist-packages", f"/{SITE}")
    inner = ("/usr/bin/python3", "-m", "compileall", "-q", *where)
    debian_root.run(*command(root, processor, folder, folder, *inner))


def _litert(version: str) -> Path:
    return Path("srv") / f"litert-{version}"


def _give_schema(site: Path) -> None:
    """The module by which tests write models, which is Python alone; the interpreter itself is not there."""
    found = importlib.metadata.distribution("ai-edge-litert").locate_file("ai_edge_litert/schema_py_generated.py")
    folder = site / "ai_edge_litert"
    folder.mkdir(exist_ok=True)
    shutil.copy(str(found), folder)
