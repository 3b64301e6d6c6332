"""Python, packages and interpreters."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import signal
import struct
import sys
from typing import Any

import multigraft
from multigraft.installing import install_package
from multigraft.runtime.doctor.finding import Finding, State
from multigraft.runtime.doctor.probe import usual_remedy
from multigraft.runtime.doctor.probe_model import USUAL_LSB
from multigraft.runtime.doctor.system import System

PYTHONS = ((3, 11), (3, 13))
"""Oldest and newest that multigraft is tested on."""

PACKAGES = (
    ("numpy", "numpy", "package=numpy"),
    ("Pillow (folders of pictures, drawing)", "PIL.Image", "extra=images"),
    ("OpenCV (USB and network cameras, video)", "cv2", "extra=video"),
    ("pyserial (boards)", "serial", "extra=serial"),
)
"""What it is for, what is imported, and what installs it."""

INTERPRETERS = (("litert", "ai-edge-litert"), ("tflite-runtime", "tflite-runtime"))
"""Name of the backend, and of its distribution."""

JETSON = "etc/nv_tegra_release"
"""Is there on a Jetson."""

SYSTEMS_PICAMERA2 = "usr/lib/python3/dist-packages/picamera2"


def check_python(system: System) -> list[Finding]:
    """The version, the word length, and multigraft's own version."""
    name, bits = "Python", 8 * struct.calcsize("P")
    told = f"{platform.python_version()}, {bits} bits, {platform.machine()}; multigraft {multigraft.__version__}"
    if bits != 64:
        return [Finding(name, "wrong", told, "install the 64-bit system: ai-edge-litert is made for no other")]
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return [Finding(name, "wrong", told, "make the environment anew: uv venv --python 3.12 ~/multigraft")]
    return [Finding(name, "ok", told)]


def check_packages(system: System) -> list[Finding]:
    """Each is imported: one that is installed may be broken."""
    found = [_package(system, title, module, usual) for title, module, usual in PACKAGES]
    if system.exists(JETSON):
        found.append(_package(system, "jetson-stats (power in containers)", "jtop", "extra=jetson"))
    if system.exists(SYSTEMS_PICAMERA2) or is_raspberry_pi(system):
        found.append(_package(system, "picamera2 (camera on the ribbon cable)", "picamera2", "package=picamera2"))
        found[-1] = _of_picamera2(system, found[-1])
    return found


def _package(system: System, title: str, module: str, usual: str) -> Finding:
    told = _answer(system, "package", module, usual)
    if "state" not in told:
        return Finding(title, "wrong", told["error"], told["remedy"] or usual_remedy(usual))
    return Finding(title, told["state"], told["said"], told["remedy"])


def _of_picamera2(system: System, found: Finding) -> Finding:
    if found.state != "missing":
        return found
    if not system.exists(SYSTEMS_PICAMERA2):
        return Finding(found.name, "missing", found.said, "run: sudo apt install python3-picamera2")
    remedy = f"run: python3 -m venv --system-site-packages {sys.prefix}"
    return Finding(found.name, "wrong", "the system has it, and this environment does not see it", remedy)


def check_interpreters(system: System) -> list[Finding]:
    """Makes each interpreter that is installed, runs it, and tells whether XNNPACK does the work."""
    found: list[Finding] = []
    for name, distribution in INTERPRETERS:
        told = _answer(system, "interpreter", name)
        if "error" in told and re.search("not installed$", told["error"]):
            continue
        found.append(_interpreter(system, distribution, told))
    if not found:
        found = [Finding("interpreter", "wrong", "none is installed", install_package("ai-edge-litert"))]
    if any(one.state == "ok" for one in found):
        # One is enough: nothing fails because of the other.
        milder: dict[State, State] = {"ok": "ok", "missing": "ok", "wrong": "missing"}
        found = [
            dataclasses.replace(one, state=milder[one.state], remedy="" if one.state == "missing" else one.remedy)
            for one in found
        ]
    return found


def _interpreter(system: System, distribution: str, told: dict[str, Any]) -> Finding:
    if "error" in told:
        remedy = told["remedy"] or install_package(distribution)
        return Finding(distribution, "wrong", f"cannot be used: {told['error']}", remedy)
    version = told["version"]
    if told["lsb"] > USUAL_LSB:
        said = f"{version} answers wrong by {told['lsb']} LSB"
        return Finding(distribution, "wrong", said, f"use another release of {distribution}")
    if told["xnnpack"]:
        return Finding(distribution, "ok", f"{version} works, XNNPACK on")
    if distribution == "tflite-runtime":
        said = f"{version} works, XNNPACK off: it has none for int8, and int8 is several times slower"
        return Finding(distribution, "missing", said, install_package("ai-edge-litert"))
    if not system.text("proc/cpuinfo"):
        said = f"{version} works, XNNPACK off: /proc/cpuinfo cannot be read"
        return Finding(distribution, "wrong", said, "mount all of /proc: systemd's ProcSubset=pid hides it")
    said = f"{version} works, XNNPACK off: it does not know this processor"
    return Finding(distribution, "wrong", said, f"try another release of {distribution}")


def check_delegate(system: System) -> list[Finding]:
    """Runs a small binary network; nothing else needs the delegate, so none is no fault."""
    name, told = "binary networks", _answer(system, "delegate")
    if "error" in told:
        return [Finding(name, "missing", f"do not run here: {told['error']}", told["remedy"])]
    if told["fault"] is not None:
        said = f"do not run here: on {told['version']} {told['fault']}"
        return [Finding(name, "missing", said, f"use {told['known']}")]
    return [Finding(name, "ok", f"run with {told['kernels']} kernels on {told['version']}")]


def _answer(system: System, *arguments: str) -> dict[str, Any]:
    """What the probe printed; ``error`` and ``remedy`` where it could not."""
    ended = system.probe(*arguments)
    if ended is None:
        return {"error": f"{system.python} does not start", "remedy": "make the environment anew"}
    if ended.code is None:
        return {"error": ended.errors, "remedy": "try again; a first start from an SD card takes long"}
    if ended.code < 0:
        name = signal.Signals(-ended.code).name
        why = ", an instruction that this processor does not have" if name == "SIGILL" else ""
        return {"error": f"it ends with {name}{why}", "remedy": "install an older release of it"}
    try:
        told = json.loads(ended.output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        said = (ended.errors.strip().splitlines() or ["nothing was said"])[-1]
        return {"error": said, "remedy": ""}
    return told if isinstance(told, dict) else {"cameras": told}


def is_raspberry_pi(system: System) -> bool:
    """Whether the board is one."""
    return "Raspberry Pi" in (system.text("proc/device-tree/model") or "")


def cameras_of_libcamera(system: System) -> list[str]:
    """Models of the cameras on the ribbon cable; none where libcamera cannot be asked."""
    told = _answer(system, "cameras")
    return [str(camera["model"]) for camera in told.get("cameras", [])]
