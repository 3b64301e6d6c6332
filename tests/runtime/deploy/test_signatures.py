"""Signatures: made and checked by py-minisign and by Debian's minisign alike; whatever differs is refused."""

from __future__ import annotations

import random
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from multigraft.cli.main import main
from multigraft.errors import BundleError, InputError, MultigraftError, UsageError
from multigraft.runtime.deploy import signatures, store
from multigraft.runtime.deploy.deploying import Policy, deploy
from tests.bundle_builder import build

SIGNED = b"a bundle"
PUBLIC_KEY = b"""untrusted comment: minisign public key 33FA15C836C91D8E
RWSOHck2yBX6M01bZddgt6Iy9Gi9DfsfqzvKpBGNNQerp3o+uLFhIU+C
"""
SIGNATURE = b"""untrusted comment: signature from minisign secret key
RUSOHck2yBX6MyvvfN+5eMogWEa+CwLdaYzMBJPTZQT+aq04HlhiGCa5MNoaRAd51mbGKaZZR4DhU7BAz3aiFXSpMhV4kBX7Eg0=
trusted comment: made by minisign 0.11
VA8R9H4fdcX9Qt2QseQwclNdecNZ3avlt0qR0wGr7kBP/5LQS39BtpepsrAHtqgegxwOJSYY5LDgCENkoe4bBg==
"""
"""By Debian's minisign 0.11."""


@pytest.fixture
def graft(tmp_path: Path) -> Path:
    return build(heads=(("digit", "classification"),)).bundle.write(tmp_path / "home.graft")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    assert main(["sign", "--new-key", str(tmp_path / "maker"), "--no-password"]) == 0
    return tmp_path / "maker"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["home.graft"], "no key to sign home.graft with; name it with --key"),
        ([], "no bundle to sign or to check"),
        (["--key", "garden"], "no bundle to sign or to check"),
        (["home.graft", "--key", "a", "--check", "b"], "--key and --check ask for different things"),
        (["home.graft", "--new-key", "a"], "--new-key makes a key and signs nothing"),
    ],
)
def test_what_is_not_enough_to_sign_is_said(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sign", *arguments]) == 2
    assert problem in capsys.readouterr().err


def public(key: Path) -> dict[str, bytes]:
    path = key.with_name(f"{key.name}.pub")
    return {str(path): path.read_bytes()}


def signed(graft: Path, key: Path) -> tuple[bytes, bytes]:
    assert main(["sign", str(graft), "--key", str(key)]) == 0
    return graft.read_bytes(), graft.with_name(f"{graft.name}.minisig").read_bytes()


def test_what_debians_minisign_signed_is_taken() -> None:
    assert signatures.check_signature(SIGNED, SIGNATURE, {"maker.pub": PUBLIC_KEY}) == "maker.pub"


def test_debians_minisign_takes_what_was_signed_here(graft: Path, key: Path) -> None:
    program = shutil.which("minisign")
    if program is None:
        pytest.skip("minisign: not installed")
    signed(graft, key)
    done = subprocess.run([program, "-Vm", str(graft), "-p", f"{key}.pub"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "file:home.graft" in done.stdout


def test_only_the_owner_can_read_the_secret_key_and_it_is_never_overwritten(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="exists already"):
        signatures.new_key(key, None)


def test_a_key_with_a_password_needs_it(graft: Path, tmp_path: Path) -> None:
    key = tmp_path / "secret"
    signatures.new_key(key, "right")
    with pytest.raises(InputError, match="wrong password"):
        signatures.sign(graft, key, lambda: "wrong")
    path = signatures.sign(graft, key, lambda: "right")
    signatures.check_signature(graft.read_bytes(), path.read_bytes(), public(key))


def test_only_bundles_are_signed(key: Path, tmp_path: Path) -> None:
    other = tmp_path / "letter.txt"
    other.write_text("I owe you")
    assert main(["sign", str(other), "--key", str(key)]) == 2
    assert not other.with_name("letter.txt.minisig").exists()


@pytest.mark.parametrize(
    ("content", "signature"),
    [
        (b"a bundlf", SIGNATURE),
        (b"", SIGNATURE),
        (SIGNED, None),
        (SIGNED, b""),
        (SIGNED, SIGNATURE[:-9]),
        (SIGNED, SIGNATURE.replace(b"by minisign", b"by somebody")),
        (SIGNED, SIGNATURE + SIGNATURE),
        (SIGNED, b"\xff" * 300),
    ],
)
def test_what_differs_is_refused(content: bytes, signature: bytes | None) -> None:
    with pytest.raises(BundleError):
        signatures.check_signature(content, signature, {"maker.pub": PUBLIC_KEY})


def test_mutated_signatures_are_refused_in_a_sentence() -> None:
    draw = random.Random(5)
    begin = SIGNATURE.index(b"\n") + 1
    for _ in range(500):
        mutant = bytearray(SIGNATURE)
        place = draw.randrange(begin, len(mutant) - 1)
        mutant[place] ^= 1 << draw.randrange(8)
        with pytest.raises(MultigraftError):
            signatures.check_signature(SIGNED, bytes(mutant), {"maker.pub": PUBLIC_KEY})


def test_one_of_several_trusted_keys_suffices_and_a_damaged_key_is_named(graft: Path, key: Path) -> None:
    data, signature = signed(graft, key)
    keys = {"other.pub": PUBLIC_KEY, **public(key)}
    assert signatures.check_signature(data, signature, keys) == f"{key}.pub"
    with pytest.raises(InputError, match=r"bad\.pub is no public key"):
        signatures.check_signature(data, signature, {"bad.pub": b"hello"})


def test_a_machine_that_trusts_a_key_takes_nothing_else(graft: Path, key: Path, in_memory: Path) -> None:
    data, signature = signed(graft, key)
    state = in_memory / "state"
    trusted = state / signatures.TRUSTED
    trusted.mkdir(parents=True)
    (trusted / "maker.pub").write_bytes(PUBLIC_KEY)
    for given in (None, signature):
        with pytest.raises(BundleError, match="not signed" if given is None else "no trusted key"):
            deploy(data, given, state)
    assert store.current(state) is None
    assert store.bundles(state) == []
    (trusted / "ours.pub").write_bytes(Path(f"{key}.pub").read_bytes())
    assert deploy(data, signature, state).signed_by == str(trusted / "ours.pub")


def test_a_signature_that_is_required_needs_a_trusted_key(graft: Path, in_memory: Path) -> None:
    with pytest.raises(UsageError, match="no key is trusted here"):
        deploy(graft.read_bytes(), None, in_memory / "state", Policy(require_signature=True))


def test_checking_and_deploying_by_command(graft: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sign", str(graft), "--check", f"{key}.pub"]) == 2
    assert "not signed" in capsys.readouterr().err
    signed(graft, key)
    assert main(["sign", str(graft), "--check", f"{key}.pub"]) == 0
    assert main(["sign", str(graft)]) == 2
    assert main(["sign", str(graft), "--key", f"{key}.pub"]) == 2
    assert "cannot be used" in capsys.readouterr().err
