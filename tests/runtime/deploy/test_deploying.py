"""Deploying here and over ssh: what is refused leaves what was served, and what is taken has passed its self-test."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.errors import BundleError, DeviceError, InputError, UsageError
from multigraft.files import sha256_of
from multigraft.runtime.backends import load_backend
from multigraft.runtime.deploy import proof, store, trial
from multigraft.runtime.deploy.deploying import Policy, deploy, wait_settled
from multigraft.runtime.deploy.remote import Remote
from multigraft.runtime.deploy.stream import packed, unpacked
from multigraft.runtime.deploy.waves import Outcome, in_waves, read_waves
from tests.bundle_builder import build, failing
from tests.runtime.deploy import sshd


@pytest.fixture(scope="module")
def grafts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bundles that run here, and one whose golden outputs no machine computes."""
    folder = tmp_path_factory.mktemp("built")
    made = [build(heads=(("digit", "classification"),), width=width).bundle for width in (8, 9)]
    return [bundle.write(folder / f"{number}.graft") for number, bundle in enumerate([*made, failing(made[1])])]


@pytest.fixture
def state(in_memory: Path) -> Path:
    return in_memory / "state"


def digest_of(graft: Path) -> str:
    return sha256_of(graft.read_bytes())


def test_a_bundle_is_served_once_it_has_passed_its_self_test(grafts: list[Path], state: Path) -> None:
    first = deploy(grafts[0].read_bytes(), None, state)
    assert (first.is_new, first.before) == (True, None)
    # Another interpreter than the one that made them may differ by some LSB.
    is_same = load_backend().name == "litert"
    assert first.self_test.startswith("4 golden inputs: all tensors equal" if is_same else "4 golden inputs: ")
    second = deploy(grafts[1].read_bytes(), None, state)
    assert second.before == first.digest == digest_of(grafts[0])
    assert trial.starting(state).name == second.digest
    assert not deploy(grafts[1].read_bytes(), None, state).is_new


def test_one_that_fails_its_self_test_leaves_nothing(grafts: list[Path], state: Path) -> None:
    old = deploy(grafts[0].read_bytes(), None, state).digest
    with pytest.raises(BundleError, match="fails its self-test here"):
        deploy(grafts[2].read_bytes(), None, state)
    assert trial.starting(state).name == old
    assert [path.name for path in (state / "bundles").iterdir()] == [old]


def test_a_file_that_is_cut_is_named(
    grafts: list[Path], state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.graft"
    cut.write_bytes(grafts[0].read_bytes()[:5000])
    assert main(["deploy", str(cut), "--state", str(state)]) == 2
    assert f"multigraft: {cut} is not a whole .graft file" in capsys.readouterr().err
    assert not state.exists()


def test_a_crash_or_a_hang_is_a_failed_self_test(
    grafts: list[Path], state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.put(state, digest_of(grafts[0]), Bundle.open(grafts[0]))
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    with pytest.raises(BundleError, match=r"does not end its self-test here: it did nothing for 0\.2 s"):
        proof.prove(folder, idle_s=0.2)
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crashing))
    with pytest.raises(BundleError, match="SIGSEGV"):
        deploy(grafts[1].read_bytes(), None, state)
    assert store.current(state) is None


def test_a_damaged_copy_in_the_store_is_replaced(grafts: list[Path], state: Path) -> None:
    folder = state / "bundles" / deploy(grafts[0].read_bytes(), None, state).digest
    (folder / "model.tflite").write_bytes(b"")
    assert deploy(grafts[0].read_bytes(), None, state).is_new is False
    assert trial.starting(state) == folder
    assert store.is_whole(folder)


def test_old_bundles_go_and_current_and_previous_stay(state: Path, grafts: list[Path]) -> None:
    bundle = Bundle.open(grafts[0])
    folders = [store.put(state, sha256_of(letter.encode()), bundle) for letter in "abcdef"]
    trial.switch_to(state, folders[0])
    trial.switch_to(state, folders[1])
    gone = store.prune(state, (), 1)
    assert set(gone) == {folder.name for folder in folders[2:5]}
    assert set(store.bundles(state)) == {folders[0], folders[1], folders[5]}
    assert {path.name for path in (state / "bundles").iterdir()} == {path.name for path in store.bundles(state)}


def test_a_state_folder_that_cannot_be_made_is_named(grafts: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        deploy(grafts[0].read_bytes(), None, tmp_path / "file" / "state")


def test_a_deployment_may_wait_until_the_service_has_settled(grafts: list[Path], state: Path) -> None:
    digest = deploy(grafts[0].read_bytes(), None, state).digest
    with pytest.raises(DeviceError, match="did not settle"):
        wait_settled(state, digest, 0.0)

    def serve() -> None:
        while store.current(state) != state / "bundles" / digest_of(grafts[1]):
            time.sleep(0.01)
        trial.starting(state)
        trial.settled(state)

    service = threading.Thread(target=serve)
    service.start()
    deploy(grafts[1].read_bytes(), None, state, Policy(wait_s=60))
    service.join()
    with pytest.raises(DeviceError, match="rolled back"):
        wait_settled(state, digest, 60)


def test_a_unit_that_cannot_be_restarted_is_said_after_the_switch(
    grafts: list[Path], state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"the bundle is deployed, and multigraft\.service cannot be restarted"):
        deploy(grafts[0].read_bytes(), None, state, Policy(restart="multigraft.service"))
    assert trial.starting(state).name == digest_of(grafts[0])


WHOLE = packed(b"12345", b"signature") + b"12345"


def test_a_stream_gives_what_was_put_in() -> None:
    assert unpacked(io.BytesIO(WHOLE)) == (b"12345", b"signature")
    assert unpacked(io.BytesIO(packed(b"12345", None) + b"12345")) == (b"12345", None)


def test_a_stream_that_ends_anywhere_is_refused() -> None:
    for length in range(len(WHOLE)):
        with pytest.raises(InputError):
            unpacked(io.BytesIO(WHOLE[:length]))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]\n",
        b"x" * 100_000,
        b'{"deploy": 2, "size": 0}\n',
        b'{"deploy": 1, "size": -1}\n',
        b'{"deploy": 1, "size": true}\n',
        b'{"deploy": 1, "size": 99999999999999}\n',
        b'{"deploy": 1, "size": 0, "sha256": "00"}\n',
        b'{"deploy": 1, "size": 0, "signature": 5}\n',
        '{"deploy": 1, "size": 0, "sha256": "%s", "signature": "\u20ac"}\n'.replace("%s", sha256_of(b"")).encode(),
    ],
)
def test_a_stream_that_is_none_is_refused(header: bytes) -> None:
    with pytest.raises(InputError):
        unpacked(io.BytesIO(header))


def test_waves_are_paragraphs_and_a_single_one_begins_with_one_machine(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# garden\npi@a  # the first\n\n\nb\n# comment\nc\n")
    assert read_waves(path) == [["pi@a"], ["b", "c"]]
    path.write_text("a\nb\nc")
    assert read_waves(path) == [["a"], ["b", "c"]]


@pytest.mark.parametrize("text", ["", "# nothing", "a\na", "-oProxyCommand=x", "a b", "a;reboot", "$(reboot)"])
def test_what_is_no_list_of_machines_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(text)
    with pytest.raises(UsageError):
        read_waves(path)


def test_no_wave_follows_one_that_failed() -> None:
    asked: list[str] = []

    def step(host: str) -> dict[str, str]:
        asked.append(host)
        if host == "bad":
            raise DeviceError("bad: no", "mend it")
        return {"digest": host}

    outcomes = in_waves([["a"], ["b", "bad", "c"], ["d"]], step, 2)
    assert [(o.host, o.wave, o.result) for o in outcomes] == [
        ("a", 1, "done"),
        ("b", 2, "done"),
        ("bad", 2, "failed"),
        ("c", 2, "done"),
        ("d", 3, "not tried"),
    ]
    assert sorted(asked) == ["a", "b", "bad", "c"]
    assert outcomes[0] == Outcome("a", 1, {"digest": "a"})


def test_a_program_that_is_not_ssh_is_named(grafts: list[Path]) -> None:
    with pytest.raises(ImportError, match="cannot be started"):
        Remote(ssh=("no-such-ssh",)).ask("pi@garden", ["rollback"])
    with pytest.raises(DeviceError, match="pi@garden: the answer was lost"):
        Remote(ssh=("true",)).ask("pi@garden", ["rollback"])
    with pytest.raises(UsageError, match="is no name of a machine"):
        Remote(ssh=("true",)).ask("-oProxyCommand=reboot", ["rollback"])


def test_over_a_real_ssh_server(grafts: list[Path], state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reason = sshd.why_not()
    if reason is not None:
        pytest.skip(f"sshd: {reason}")
    with sshd.running(state.parent) as server:
        there = ["--state", str(state), "--json"]
        assert main(["deploy", str(grafts[0]), *server.options(*there)]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert (answer["host"], answer["digest"]) == (server.host, digest_of(grafts[0]))
        hosts = state.parent / "hosts"
        hosts.write_text(f"{server.host}\n\nnobody@127.0.0.1\n\nlocalhost\n")
        many = ["--hosts", str(hosts), *server.options(*there)[2:]]
        assert main(["deploy", str(grafts[1]), *many]) == 2
        rows = json.loads(capsys.readouterr().out)
        assert [row["result"] for row in rows] == ["done", "failed", "not tried"]
        assert trial.starting(state).name == digest_of(grafts[1])
        assert main(["deploy", str(grafts[2]), *server.options(*there)]) == 2
        assert "fails its self-test here" in capsys.readouterr().err
        assert main(["rollback", *server.options(*there)]) == 0
        assert trial.starting(state).name == digest_of(grafts[0])


def test_by_command_and_through_a_pipe(grafts: list[Path], state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", str(grafts[0]), "--state", str(state)]) == 0
    assert "is served from the next start on; self-test: 4 golden inputs" in capsys.readouterr().out
    data = grafts[1].read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "multigraft", "deploy", "--receive", "--state", str(state), "--json"],
        input=packed(data, None) + data,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["before"] == digest_of(grafts[0])
    assert main(["rollback", "--state", str(state), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"digest": digest_of(grafts[0])}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--receive", "a.graft"],
        ["a.graft", "--host", "a", "--hosts", "b"],
        ["a.graft", "--keep", "-1"],
        ["a.graft", "--wait", "nan"],
        ["a.graft"],
    ],
)
def test_a_mistake_is_a_sentence(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["deploy", "--state", str(tmp_path / "state"), *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
