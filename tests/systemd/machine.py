"""A Debian 12 with systemd, Python and multigraft, in a folder: made once, booted by systemd-nspawn."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv"
PREFIX = Path("srv") / "multigraft"
"""Of the environment, in the root."""
BOOT_S = 600


def cache() -> Path:
    """Where the root is kept between runs."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "multigraft" / "systemd-debian12"


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
    root = cache()
    if not (root / "etc" / "debian_version").exists():
        shutil.rmtree(root, ignore_errors=True)
        fresh = root.with_name(f"{root.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(fresh))
        fresh.rename(root)
    wheel = _wheel(checkout, root.parent)
    environment = root / PREFIX
    if not (environment / "bin" / "python").is_symlink():
        _run("chroot", str(root), "python3", "-m", "venv", "--without-pip", f"/{PREFIX}")
    site = environment / "lib" / "python3.11" / "site-packages"
    needed = hashlib.sha256((checkout / "setup.cfg").read_bytes()).hexdigest()
    stamp = root / "srv" / "packages.sha256"
    into = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), "--upgrade"]
    if not stamp.exists() or stamp.read_text() != needed:
        platforms = [
            f"--platform=manylinux{name}_x86_64" for name in ("2014", "_2_17", "_2_26", "_2_27", "_2_28", "_2_34")
        ]
        only = ["--python-version=3.11", "--implementation=cp", "--only-binary=:all:", *platforms]
        _run(*into, *only, f"{wheel}[serve]")
        stamp.write_text(needed)
    _run(*into, "--no-deps", "--no-index", "--force-reinstall", str(wheel))
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


def _wheel(checkout: Path, folder: Path) -> Path:
    target = folder / "wheel"
    shutil.rmtree(target, ignore_errors=True)
    copy = folder / "source"
    shutil.rmtree(copy, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=checkout, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (checkout / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkout / name, copy / name)
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(copy))
    shutil.rmtree(copy)
    return next(target.glob("*.whl"))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
