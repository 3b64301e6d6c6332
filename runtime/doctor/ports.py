"""What is plugged in: cameras, serial ports, and whether this user may open them."""

from __future__ import annotations

from pathlib import Path

from multigraft.installing import install_extra
from multigraft.runtime.doctor.finding import Finding
from multigraft.runtime.doctor.software import SYSTEMS_PICAMERA2, cameras_of_libcamera, is_raspberry_pi
from multigraft.runtime.doctor.system import System

NO_CAMERAS = ("bcm2835-", "pispbe", "rpi-", "rp1-", "unicam", "tegra-", "vivid-out")
"""What a board's own video devices that give no pictures are called."""

SERIAL = ("dev/ttyACM*", "dev/ttyUSB*", "dev/ttyAMA[0-9]*", "dev/ttyTHS*")


def check_cameras(system: System) -> list[Finding]:
    """Cameras on the ribbon cable and Video4Linux devices."""
    found = []
    if system.exists(SYSTEMS_PICAMERA2) or is_raspberry_pi(system):
        models = cameras_of_libcamera(system)
        if models:
            found.append(Finding("ribbon camera", "ok", f"{', '.join(models)}: --source camera"))
        else:
            remedy = "switch the board off and check the cable; then: rpicam-hello --list-cameras"
            found.append(Finding("ribbon camera", "missing", "libcamera finds none", remedy))
    found += [_video(system, folder) for folder in _video_devices(system)]
    if not found:
        remedy = "plug in a USB camera, or name an address: --source rtsp://camera/stream"
        found = [Finding("camera", "missing", "no /dev/video*", remedy)]
    return found


def _video_devices(system: System) -> list[Path]:
    """Those that give pictures: of a camera with several, the first."""
    folders = []
    for folder in system.found("sys/class/video4linux/video*"):
        path = f"sys/class/video4linux/{folder.name}/"
        name, index = system.text(f"{path}name") or "", system.text(f"{path}index") or "0"
        if index == "0" and not name.startswith(NO_CAMERAS):
            folders.append(folder)
    return folders


def _video(system: System, folder: Path) -> Finding:
    name = system.text(f"sys/class/video4linux/{folder.name}/name") or "unnamed"
    title, told = f"camera {folder.name}", f"{name}: --source /dev/{folder.name}"
    device = system.root / "dev" / folder.name
    if not device.exists():
        return Finding(
            title,
            "wrong",
            f"{name} has no /dev/{folder.name}",
            "plug it in again, or give it to the container",
            (name,),
        )
    if not system.may_use(device):
        return Finding(title, "wrong", f"{name} may not be opened", _join("video", system), (name,))
    return Finding(title, "ok", told, private=(name,))


def check_serial(system: System) -> list[Finding]:
    """Serial ports with boards on them."""
    ports = [port for pattern in SERIAL for port in system.found(pattern)]
    if not ports:
        remedy = "plug a board in, if there is one to talk to"
        return [Finding("serial port", "missing", "none with a board", remedy)]
    return [_port(system, port) for port in ports]


def _port(system: System, port: Path) -> Finding:
    title = f"serial port {port.name}"
    if not system.may_use(port):
        return Finding(title, "wrong", "may not be opened", _join("dialout", system))
    return Finding(title, "ok", f"multigraft monitor --port /dev/{port.name}; needs pyserial", install_extra("serial"))


def check_groups(system: System) -> list[Finding]:
    """Groups by which devices are opened; those that the machine does not have are left out."""
    lines = (system.text("etc/group") or "").splitlines()
    there = {line.partition(":")[0] for line in lines}
    found = []
    for group, use in (("video", "cameras"), ("i2c", "power sensors"), ("dialout", "serial ports")):
        if group not in there:
            continue
        if system.is_root or group in system.groups:
            found.append(Finding(f"group {group}", "ok", "root may do anything" if system.is_root else f"for {use}"))
        else:
            found.append(Finding(f"group {group}", "missing", f"{use} may be closed to you", _join(group, system)))
    return found


def _join(group: str, system: System) -> str:
    if system.is_root:
        return "give the device to the container or machine that this is"
    return f"run: sudo usermod -aG {group} $USER; and log in again"
