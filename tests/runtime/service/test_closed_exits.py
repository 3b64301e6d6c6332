"""An exit that its audit closed stays closed over restarts, until somebody opens it."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from multigraft.cli.main import main
from multigraft.runtime.exits.exit_gate import ExitGate
from multigraft.runtime.service.closed_exits import FILE, ClosedExits, read_closed
from multigraft.runtime.service.journal import Journal
from tests.exit_bundle import EXIT, build, policy
from tests.runtime.service.served import serving

ONE, OTHER = "1" * 64, "2" * 64


def gates() -> dict[str, ExitGate]:
    return {EXIT: ExitGate("garment", policy(0.0, audited=0.02), lambda: True)}


def started(state: Path, bundle: str = ONE) -> tuple[ExitGate, ClosedExits]:
    made = gates()
    return made[EXIT], ClosedExits(state, bundle, made, Journal({}, environment={}))


def closed(state: Path, bundle: str = ONE) -> tuple[ExitGate, ClosedExits]:
    gate, kept = started(state, bundle)
    while gate.is_open:
        gate.audited(agrees=False)
    return gate, kept


def test_a_closed_exit_is_closed_at_the_next_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "not/yet/there"
    gate, _ = closed(state)
    capsys.readouterr()
    again, _ = started(state)
    assert not again.is_open
    said = capsys.readouterr().err
    assert f"{gate.audit.disagreed} of {gate.audit.audited} audited frames disagreed" in said
    assert "multigraft exits --reopen" in said
    other, _ = started(state, OTHER)
    assert other.is_open, "another build has promises of its own"


def test_an_exit_that_keeps_its_promise_leaves_no_trace(tmp_path: Path) -> None:
    gate, kept = started(tmp_path)
    for _ in range(500):
        gate.audited(agrees=True)
    kept.look()
    kept.after_frame()
    assert gate.is_open and not list(tmp_path.iterdir())


def test_it_is_opened_by_hand_while_the_service_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate, kept = closed(tmp_path)
    closed(tmp_path, OTHER)
    assert main(["exits", "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("and at most 1 % were promised") == 2
    assert main(["exits", "--state", str(tmp_path), "--json"]) == 0
    assert {one["bundle"] for one in json.loads(capsys.readouterr().out)["closed"]} == {ONE, OTHER}
    kept.look()
    kept.after_frame()
    assert not gate.is_open, "another bundle's exit says nothing of this one"
    assert main(["exits", "--reopen", "no_such", "--state", str(tmp_path)]) != 0
    assert EXIT in capsys.readouterr().err
    assert main(["exits", "--reopen", EXIT, "--state", str(tmp_path)]) == 0
    kept.look()
    kept.after_frame()
    assert gate.is_open and gate.audit.audited == 0
    assert read_closed(tmp_path) == () and not (tmp_path / FILE).exists()
    while gate.is_open:
        gate.audited(agrees=False)
    assert [one.exit for one in read_closed(tmp_path)] == [EXIT], "it is audited anew"


def test_an_exit_is_opened_though_another_closes_before_the_service_has_looked(tmp_path: Path) -> None:
    made = {name: ExitGate("garment", replace(policy(0.0, audited=0.02), segment=name), lambda: True) for name in "ab"}
    kept = ClosedExits(tmp_path, ONE, made, Journal({}, environment={}))
    while made["a"].is_open:
        made["a"].audited(agrees=False)
    kept.look()
    kept.after_frame()
    assert main(["exits", "--reopen", "a", "--state", str(tmp_path)]) == 0
    while made["b"].is_open:
        made["b"].audited(agrees=False)
    kept.look()
    kept.after_frame()
    assert made["a"].is_open and not made["b"].is_open


def test_a_state_folder_that_is_not_there_is_no_service_whose_exits_are_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([], ["--reopen"]):
        assert main(["exits", "--state", str(tmp_path / "none"), *words]) == 2
        said = capsys.readouterr()
        assert f"there is no state folder {tmp_path / 'none'}; name the one that the service has" in said.err
        assert not said.out and not (tmp_path / "none").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'[{"exit": "a"}]', b"[" * 100_000])
def test_where_nobody_knows_what_was_closed_all_are(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE).write_bytes(content)
    gate, kept = started(tmp_path)
    assert not gate.is_open and "is damaged" in capsys.readouterr().err
    assert main(["exits", "--state", str(tmp_path)]) != 0
    assert main(["exits", "--reopen", "--state", str(tmp_path)]) == 0
    kept.look()
    kept.after_frame()
    assert gate.is_open


def test_a_folder_that_takes_nothing_ends_no_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    gate, _ = closed(tmp_path / "file" / "state")
    assert not gate.is_open
    assert "cannot be noted, and the next start opens it" in capsys.readouterr().err


def test_a_service_that_is_killed_and_started_again(tmp_path: Path) -> None:
    build(policy(0.0, audited=1.0), heads=("garment",)).write(tmp_path / "home.graft")
    words = (str(tmp_path / "home.graft"), "--source", "fake:28x28,grey")
    with serving(tmp_path, *words) as served:
        served.until(lambda: "is closed" in served.log.read_text())
        served.end(signal.SIGKILL)
    with serving(tmp_path, *words) as served:
        served.until(served.is_well)
        assert "is closed since" in served.log.read_text()
        assert served.json("/live/state")["exits"][EXIT]["open"] is False
        assert f'exit_open{{exit="{EXIT}",task="garment"}} 0.0' in served.ask("/metrics")[2].decode()
        assert main(["exits", "--reopen", "--state", str(tmp_path / "state")]) == 0
        served.until(lambda: "is open again" in served.log.read_text())


def test_a_gate_for_far_frames_is_told_of_and_never_closed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = ExitGate("garment", policy(1.0, rule="far"), lambda: True)
    ClosedExits(tmp_path, ONE, {EXIT: gate}, Journal({}, environment={}))
    for _ in range(50):
        gate.watched(is_far=True)
    assert capsys.readouterr().err.count("what the device sees has changed") == 1
    assert gate.is_open and not list(tmp_path.iterdir())
    (tmp_path / FILE).write_text("no json")
    other = ExitGate("garment", policy(1.0, rule="far"), lambda: True)
    ClosedExits(tmp_path, ONE, {EXIT: other}, Journal({}, environment={}))
    assert other.is_open, "it promises nothing of answers, so that nothing can be wrong with it"
