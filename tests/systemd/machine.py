"""A Debian 12 with systemd, Python and multigraft, in a folder: made once, booted by systemd-nspawn."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests import debian_root

PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv"
PREFIX = Path("srv") / "multigraft"
"""Of the environment, in the root."""
BOOT_S = 1200


def missing() -> str | None:
    """What stands in the way here, None if nothing does."""
    if os.geteuid() != 0:
        return "booting a container takes root"
    for tool, package in (("debootstrap", "debootstrap"), ("systemd-nspawn", "systemd-container")):
        if shutil.which(tool) is None:
            return f"there is no {tool}; run: apt install {package}"
    return None


def made(checkout: Path) -> Path:
    """The root with this checkout's wheel in it; debootstrap and pip run once, and need the network then."""
    root = debian_root.cache("systemd-debian12")
    debian_root.made_once(root, "debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm")
    wheel = debian_root.wheel_of(checkout, root.parent)
    environment = root / PREFIX
    if not (environment / "bin" / "python").is_symlink():
        debian_root.run("chroot", str(root), "python3", "-m", "venv", "--without-pip", f"/{PREFIX}")
    site = environment / "lib" / "python3.11" / "site-packages"
    needed = hashlib.sha256((checkout / "setup.cfg").read_bytes()).hexdigest()
    stamp = root / "srv" / "packages.sha256"
    if not stamp.exists() or stamp.read_text() != needed:
        debian_root.install(site, f"{wheel}[serve]")
        stamp.write_text(needed)
    debian_root.install_wheel(site, wheel)
    script = environment / "bin" / "multigraft"
    script.write_text(f"#!/{PREFIX}/bin/python\nimport sys\nfrom multigraft.cli.main import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return root


def boot(root: Path, program: Path, results: Path) -> str:
    """Boot a copy-on-write view of the root, run a program in it as a service, and shut down.

    Args:
        root: What :func:`made` gave; it stays as it is.
        program: A Python script; it finds ``results`` at /srv/results.
        results: A folder.

    Returns:
        What the console showed.
    """
    shutil.copy(program, results / "program.py")
    shared = results / "tests" / "systemd"
    shared.mkdir(parents=True, exist_ok=True)
    shutil.copy(program.with_name("inside.py"), shared)
    (results / "drive.service").write_text(
        "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nStandardOutput=journal+console\n"
        f"ExecStart=/{PREFIX}/bin/python /srv/results/program.py\nExecStopPost=/bin/systemctl poweroff --force\n"
    )
    inner = results / "boot.sh"
    # nspawn keeps its own files under /run, which has to be a file system of its own.
    inner.write_text(
        "set -e\nmount -t tmpfs tmpfs /run\n"
        f"exec systemd-nspawn --quiet --directory='{root}' --volatile=overlay --register=no --keep-unit "
        f"--private-network --console=pipe --bind='{results}':/srv/results "
        f"--bind-ro='{results}/drive.service':/etc/systemd/system/drive.service "
        "--boot systemd.wants=drive.service\n"
    )
    command = ["unshare", "--mount", "--propagation", "private", "sh", str(inner)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=BOOT_S, check=False
    )
    return done.stdout + done.stderr
