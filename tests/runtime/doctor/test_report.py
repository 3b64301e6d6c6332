"""The report to attach to an issue tells of a machine, and not of a person; the command, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from multigraft.cli.main import main
from multigraft.runtime.doctor.examination import examine
from multigraft.runtime.doctor.finding import Finding
from multigraft.runtime.doctor.report import Anonymous, report
from multigraft.runtime.doctor.system import System
from tests.runtime.doctor.machines import machine

PLANTED = (
    "annegret", "Annegret", "gartenhaus", "10000000abcdef12", "192.168.178.23", "fe80::1ff:fe23:4567:890a",
    "dc:a6:32:01:02:03", "annegret@gartenhaus.example.org", "5f2c9a1b7d3e4f60", "hunter2", "fotos",
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "file {home}/fotos/cam.graft of annegret",
        "run: {home}/venv/bin/python -m pip install 'numpy<2'",
        "rtsp://annegret:hunter2@192.168.178.23:554/stream",
        "rtsp://someone:hunter2@[fe80::1ff:fe23:4567:890a]/stream",
        "ether dc:a6:32:01:02:03 on gartenhaus, DC-A6-32-01-02-03",
        "write to annegret@gartenhaus.example.org",
        "/dev/v4l/by-id/usb-Annegret_5f2c9a1b7d3e4f60-video-index0",
        "board Serial 10000000abcdef12 and 000000123456789",
        "/{h}/annegret/fotos/x /media/annegret/usb /var/{h}/annegret /Users/Annegret/fotos",
        "/{h}/annegret-2/x, ('/{h}/annegret')",
    ],
)
def test_nothing_of_a_person_stays(text: str, tmp_path: Path) -> None:
    system = machine(tmp_path / "annegret")
    cleaned = Anonymous(system)(text.format(home=tmp_path / "annegret", h="home"))
    for word in (*PLANTED, str(tmp_path), "/home", "123456789"):
        assert word.lower() not in cleaned.lower(), cleaned


@pytest.mark.parametrize(
    "text",
    [
        "ai-edge-litert 2.3.0 works, XNNPACK on",
        "Raspberry Pi 4 Model B Rev 1.4, Debian GNU/Linux 12 (bookworm), Linux 6.6.51+rpt-rpi-v8",
        "under-voltage now (0x50005)",
        "run: python3 -m pip install 'numpy<2'",
        "2026-09-21 12:26 UTC, synchronised",
        "--source /dev/video0",
        "run: sudo sed -i 's/$/ cgroup_enable=memory/' /boot/firmware/cmdline.txt && sudo reboot",
        "numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header",
    ],
)
def test_what_tells_of_the_machine_stays(text: str, tmp_path: Path) -> None:
    assert Anonymous(machine(tmp_path))(text) == text


def test_a_whole_report(tmp_path: Path) -> None:
    system = machine(
        tmp_path / "annegret",
        {"sys/class/dmi/id/product_serial": "5f2c9a1b7d3e4f60", "etc/machine-id": "0123456789abcdef0123456789abcdef"},
    )
    findings = [
        *examine(system),
        Finding(
            "camera of annegret", "wrong", "5f2c9a1b7d3e4f60 | at 192.168.178.23", f"see {tmp_path}/annegret/fotos"
        ),
    ]
    text = report(findings, system)
    for word in PLANTED:
        assert word.lower() not in text.lower()
    assert str(tmp_path / "annegret") not in text
    assert "Raspberry Pi 4 Model B" in text
    assert text.count("\n| ") == len(findings)
    assert r"‹number› \| at ‹address›" in text


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("multigraft.runtime.doctor.system.System", lambda: machine(tmp_path / "annegret"))
    code = main(["doctor", "--json", "--report", str(tmp_path / "report.md")])
    told = json.loads(capsys.readouterr().out)
    states = {one["name"]: one["state"] for one in told["findings"]}
    assert states["memory cgroup"] == "missing"
    assert code == (0 if told["well"] else 1)
    assert "Annegret" not in (tmp_path / "report.md").read_text("utf-8")


def test_exit_code_1_where_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hot = machine(tmp_path, {"sys/class/thermal/thermal_zone0/temp": "91000"})
    monkeypatch.setattr("multigraft.runtime.doctor.system.System", lambda: hot)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("wrong    temperature: 91.0 °C")]
    assert lines[at + 1].strip() == "-> give it a heat sink or a fan, and air"


def test_on_this_machine() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "multigraft", "doctor", "--json"],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["well"] else 1), done.stderr
    assert all(one["remedy"] for one in told["findings"] if one["state"] != "ok")
    assert System().exists("proc/self")
