"""The unit as systemd reads it, the log as journald reads it, and what is said in words."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from multigraft.cli.main import main
from multigraft.errors import ConfigurationError
from multigraft.runtime import Engine
from multigraft.runtime.drawing.words import words
from multigraft.runtime.http.__main__ import HEARTBEAT_S
from multigraft.runtime.service import front, installation
from multigraft.runtime.service.front import Address, is_starved, scheduled_s
from multigraft.runtime.service.journal import WARNING, Journal
from multigraft.runtime.service.settings import token_of
from multigraft.runtime.service.unit import Secret, Unit
from tests.box_bundle import box_bundle, bright_frames
from tests.runtime.service.served import PATIENCE_S, until

MOST_EXPOSURE = 20
"""Tenths, as systemd-analyze takes it."""


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_the_unit_restarts_feeds_the_watchdog_and_keeps_cpuinfo() -> None:
    text = Unit("multigraft", ("--source", "camera")).text({"video", "i2c", "wheel"})
    assert values(text, "Type") == ["notify"]
    assert values(text, "RestartPreventExitStatus") == ["78"]
    assert values(text, "Restart") == ["always"]
    assert values(text, "ProcSubset") == ["all"]
    assert values(text, "SupplementaryGroups") == ["video i2c"]
    assert values(text, "DynamicUser") == ["yes"]
    assert values(text, "IPAddressDeny") == ["any"]
    assert [shlex.split(command) for command in values(text, "ExecStart")] == [
        [sys.executable, "-P", "-m", "multigraft", "serve", "--source", "camera"]
    ]
    words = ("--token-file", Secret("token", Path("/etc/token")), "--source", Secret("s", Path("/a b"), "50 %=@"))
    open_to_all = Unit("other", words, "pi", False).text(())
    assert values(open_to_all, "IPAddressDeny") == [] and values(open_to_all, "User") == ["pi"]
    assert values(open_to_all, "LoadCredential") == ["token:/etc/token", r"s:/a\x20b"]
    assert values(open_to_all, "ExecStart")[0].endswith('serve --token-file %d/token --source "50 %%=@%d/s"')


@pytest.mark.parametrize("word", ["a b", 'a"b', "a%b", "a$b", "a\\b", "a;b", ""])
def test_words_with_signs_of_systemd_arrive_as_they_were(word: str, tmp_path: Path) -> None:
    [command] = values(Unit("multigraft", ("--source", word)).text(()), "ExecStart")
    last = command.partition(" -P -m multigraft serve --source ")[2]
    # systemd.service(5): quotes, then backslashes, specifiers and variables.
    inner = last[1:-1] if last.startswith('"') else last
    plain = inner.replace("$$", "$").replace("%%", "%").replace('\\"', '"').replace("\\\\", "\\")
    assert plain == word


def test_systemd_understands_the_unit_and_finds_it_safe(tmp_path: Path) -> None:
    path = tmp_path / "multigraft.service"
    path.write_text(Unit("multigraft", ("--source", "camera")).text())
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd: it is not installed here")
    checks = (
        ["security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", str(path)],
        ["verify", "--man=no", str(path)],
    )
    for arguments in checks:
        done = subprocess.run([analyze, *arguments], capture_output=True, text=True, check=False)
        if "--offline" in done.stderr:
            pytest.skip("systemd: this one judges no files")
        assert done.returncode == 0, done.stdout[-300:] + done.stderr
        assert "multigraft.service:" not in done.stderr, done.stderr


def test_a_changed_unit_would_be_found_unsafe(tmp_path: Path) -> None:
    text = Unit("multigraft", ()).text(())
    dropped = [line for line in text.splitlines() if not line.startswith(("System", "Capability", "NoNew", "Dynamic"))]
    path = tmp_path / "multigraft.service"
    path.write_text("\n".join(dropped))
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd: it is not installed here")
    command = [analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_install_prints_the_unit_and_changes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    arguments = ["service", "install", "--print", "--source", str(tmp_path / "frames"), "--rate", "5"]
    assert main([*arguments, "--tasks", "digit", "--max-memory", "300"]) == 0
    text = capsys.readouterr().out
    assert f"--source {tmp_path / 'frames'}" in text
    assert "--rate 5 --max-memory 300" in text and "--tasks digit" in text
    assert str(tmp_path / "frames") in "".join(values(text, "BindReadOnlyPaths"))


@pytest.mark.parametrize(
    ("text", "is_alone"),
    [
        (None, True),
        ("MULTIGRAFT_OPTIONS=x\n# OTEL_EXPORTER_OTLP_ENDPOINT=http://far:4318\n", True),
        ("OTEL_EXPORTER_OTLP_ENDPOINT='http://127.0.0.1:4318'\n", True),
        (
            'OTEL_SERVICE_NAME=front\n OTEL_EXPORTER_OTLP_ENDPOINT = x\nOTEL_EXPORTER_OTLP_ENDPOINT="http://far:4318"\n',
            False,
        ),
        ("OTEL_EXPORTER_OTLP_ENDPOINT=http://far:4318\nOTEL_SDK_DISABLED=true\n", True),
    ],
)
def test_the_unit_passes_variables_on_and_lets_a_collector_be_reached(
    text: str | None,
    is_alone: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(installation, "DEFAULTS", tmp_path)
    if text is not None:
        (tmp_path / "front").write_text(text)
    assert main(["service", "install", "--print", "--name", "front", "--source", "fake:"]) == 0
    unit = capsys.readouterr().out
    assert values(unit, "EnvironmentFile") == ["-/etc/default/front"]
    assert values(unit, "IPAddressDeny") == (["any"] if is_alone else [])


SECRET = "rtsp://watcher:se=c%25ret@camera/stream?key=hidden"


def test_no_secret_stands_in_the_unit_or_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(installation, "UNITS", tmp_path)
    monkeypatch.setattr(installation, "SECRETS", tmp_path / "etc")
    monkeypatch.setattr(installation, "MANAGED", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(installation, "systemctl", lambda *words, is_needed=True: commands.append(words))
    monkeypatch.setattr(installation.install, "__defaults__", (tmp_path, tmp_path))
    monkeypatch.setattr(installation.uninstall, "__defaults__", (tmp_path,))
    typed, token = tmp_path / "typed", tmp_path / "token"
    for path in (typed, token):
        path.write_text("http://camera/video?key=hidden\n")
    typed.chmod(0o600)
    token.chmod(0o644)
    sources = ["--source", f"door={SECRET}", "--source", f"yard=@{typed}", "--source", "http://open/video"]
    assert main(["service", "install", "--name", "front", *sources, "--token-file", str(token)]) == 0
    unit, [written] = (tmp_path / "front.service").read_text(), (tmp_path / "etc").iterdir()
    told = capsys.readouterr()
    assert written.read_text() == f"{SECRET}\n" and written.stat().st_mode & 0o077 == 0
    assert values(unit, "LoadCredential") == [f"source-0:{written}", f"source-1:{typed}", f"token:{token}"]
    assert "--source door=@%d/source-0 --source yard=@%d/source-1 --source http://open/video" in unit
    assert values(unit, "IPAddressDeny") == []
    assert f"can read {token}" in told.err and str(typed) not in told.err
    for secret in ("watcher", "ret@", "hidden"):
        assert secret not in unit + told.out + told.err + repr(commands)
    assert main(["service", "install", "--name", "front", "--source", f"@{typed}"]) == 0
    assert list((tmp_path / "etc").iterdir()) == []
    assert main(["service", "install", "--name", "front", "--source", SECRET]) == 0
    assert main(["service", "uninstall", "--name", "front"]) == 0
    assert list((tmp_path / "etc").iterdir()) == [] and not (tmp_path / "front.service").exists()


def test_what_takes_root_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["service", "install", "--source", "fake:"]) == 2
    assert "takes root's rights; run: sudo multigraft service install" in capsys.readouterr().err
    assert main(["service", "uninstall"]) == 2


@pytest.mark.parametrize("name", ["a b", "../x", "A", ""])
def test_names_that_are_none_are_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "status", "--name", name]) == 2
    assert "use small letters" in capsys.readouterr().err


def test_without_systemd_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installation, "MANAGED", tmp_path / "nothing")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Exception, match="systemd does not run here; start it yourself: multigraft serve"):
        installation.install(Unit("multigraft", ()), None, tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["status", "logs", "uninstall"])
def test_without_systemd_there_is_nothing_to_ask(
    step: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installation, "MANAGED", tmp_path / "nothing")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert main(["service", step]) == 2
    assert capsys.readouterr().err == "multigraft: systemd does not run here; start it yourself: multigraft serve.\n"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--listen", "0.0.0.0:80"], "/var/lib/multigraft/token"),
        (["--listen", "0.0.0.0:80", "--state", "/srv/state"], "/srv/state/token"),
        (["--listen", "0.0.0.0:80", "--token-file", "/etc/token"], "/etc/token"),
        ([], ""),
    ],
)
def test_an_installed_service_says_where_the_token_lies(
    arguments: list[str], hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installation, "install", lambda unit, bundle: Path("multigraft.service"))
    assert main(["service", "install", *arguments]) == 0
    assert capsys.readouterr().out.endswith(f"the token in {hint}\n" if hint else "http://127.0.0.1:8080\n")


def test_the_journal_gets_fields(tmp_path: Path) -> None:
    state = os.fstat(2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "journal"))
        listening.settimeout(10)
        journal = Journal({"BUNDLE": "abc"}, tmp_path / "journal", {"JOURNAL_STREAM": f"{state.st_dev}:{state.st_ino}"})
        journal.write(WARNING, "camera_lost", "two\nlines", camera="front")
        record = listening.recv(65536)
    length = len(b"two\nlines").to_bytes(8, "little")
    assert b"MESSAGE\n" + length + b"two\nlines\n" in record
    for field in (b"PRIORITY=4\n", b"MULTIGRAFT_EVENT=camera_lost\n", b"MULTIGRAFT_BUNDLE=abc\n"):
        assert field in record
    assert b"MULTIGRAFT_CAMERA=front\n" in record


def test_elsewhere_the_log_is_plain(capfd: pytest.CaptureFixture[str]) -> None:
    Journal(environment={"JOURNAL_STREAM": "1:2"}).write(WARNING, "camera_lost", "the camera is gone")
    assert capfd.readouterr().err == "multigraft: the camera is gone\n"


def test_boxes_are_said_in_words() -> None:
    engine = Engine(box_bundle())
    [frame] = bright_frames(20)
    said = words(engine.run(frame).answers)
    assert said["line"].startswith("line ")
    [nothing] = bright_frames(None)
    assert words(engine.run(nothing).answers)["line"] == "nothing"


def test_a_process_that_waits_for_its_turn_is_not_stuck() -> None:
    ran, waited = scheduled_s(os.getpid()) or (0.0, 0.0)
    assert ran > 0 and waited >= 0
    assert scheduled_s(2**22 + 1) is None
    # It sleeps for good, is starved, is starved for a second minute, spins on a machine that is busy, is not known.
    assert not is_starved((1.0, 3.0), (1.0, 3.0), (1.0, 3.1), 60)
    assert is_starved((1.0, 3.0), (1.0, 3.0), (1.5, 59.0), 60)
    assert is_starved((1.0, 3.0), (1.5, 59.0), (2.0, 110.0), 60)
    assert not is_starved((1.0, 3.0), (8.0, 59.0), (12.0, 110.0), 60)
    assert not is_starved(None, None, (12.0, 110.0), 60)


def test_a_process_that_is_stopped_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "SILENCE_S", 2 * HEARTBEAT_S)
    said: list[str] = []
    questions: dict[str, front.Question] = {"settings": lambda header, body, answer: answer({"token": None})}
    asked = threading.Event()

    def alive(header: dict[str, Any], body: memoryview, answer: front.Answer) -> None:
        answer(True)
        asked.set()

    questions["alive"] = alive
    one = front.Front(front.listen(Address("127.0.0.1", 0)), questions, said.append)
    one.start()
    try:
        assert asked.wait(PATIENCE_S) and one._process is not None
        os.kill(one._process.pid, signal.SIGSTOP)
        until(lambda: bool(said))
    finally:
        one.stop()
    assert said == ["the process that speaks HTTP did not move (exit code -9); it is started again"]


def test_a_question_that_fails_ends_no_thread() -> None:
    said: list[str] = []
    asked = threading.Event()

    def settings(header: dict[str, Any], body: memoryview, answer: front.Answer) -> None:
        if not said:
            raise OverflowError("too large")
        answer({"token": None})
        asked.set()

    one = front.Front(front.listen(Address("127.0.0.1", 0)), {"settings": settings}, said.append)
    one.start()
    try:
        assert asked.wait(PATIENCE_S)
    finally:
        one.stop()
    assert said == ["HTTP was interrupted (OverflowError('too large')); the process that speaks it is started again"]


@pytest.mark.parametrize("text", ["", "short", "a" * 200, "with space inside it", "ü" * 20])
def test_a_file_that_holds_no_token_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="holds no token"):
        token_of(Address("0.0.0.0", 1), tmp_path, path)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:8080", "127.0.0.1", 8080), ("[::1]:80", "::1", 80), (":1", "0.0.0.0", 1), ("pi:0", "pi", 0)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port) == (host, port)


@pytest.mark.parametrize("text", ["8080", "pi", "pi:", "pi:x", "pi:99999", "pi:-1", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        Address.parse(text)
