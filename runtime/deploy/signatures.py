"""Signatures of .graft files: ed25519 in minisign's format, by py-minisign; Debian's ``minisign -V`` verifies them.

``home.graft.minisig`` lies beside ``home.graft``. A machine trusts the public keys that lie as ``*.pub`` in its state
folder's ``trusted/`` or in :data:`SYSTEM_KEYS`. Where it trusts any, it takes nothing that none of them has signed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from multigraft import files
from multigraft.bundle.bundle import LARGEST, Bundle
from multigraft.errors import BundleError, InputError, MissingDependencyError, UsageError
from multigraft.installing import how_missing, install_extra
from multigraft.reading import printable, read_file

SUFFIX = ".minisig"
TRUSTED = "trusted"
SYSTEM_KEYS = Path("/etc/multigraft/trusted")
LARGEST_KEY = 4096
"""Bytes of a key or a signature, which are some hundred long."""
LARGEST_GRAFT = sum(LARGEST.values()) + (1 << 16)
_NAME = 200


def signature_beside(graft: Path) -> bytes | None:
    """The signature that lies beside a .graft file, None where there is none.

    Raises:
        InputError: It cannot be read.
    """
    path = graft.with_name(graft.name + SUFFIX)
    return read_file(path, LARGEST_KEY) if path.exists() else None


def trusted_keys(state: Path, system: Path = SYSTEM_KEYS) -> dict[str, bytes]:
    """Public keys that this machine trusts, by the path of their file.

    Raises:
        InputError: One cannot be read: whether it is trusted cannot be told.
    """
    found: dict[str, bytes] = {}
    for folder in (system, state / TRUSTED):
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix == ".pub")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InputError(
                f"{folder} cannot be read: {error.strerror}", "let the user that deploys read it"
            ) from error
        found |= {str(path): read_file(path, LARGEST_KEY) for path in paths}
    return found


def check_signature(data: bytes, signature: bytes | None, keys: dict[str, bytes]) -> str:
    """Which of the trusted keys signed a .graft file.

    Args:
        data: The file's content.
        signature: The signature's content.
        keys: Path to public key, as :func:`trusted_keys` gives them.

    Returns:
        The path of the key.

    Raises:
        BundleError: There is no signature, it is damaged, or none of the keys made it for this content.
        InputError: A key is damaged.
        UsageError: No key is trusted.
        MissingDependencyError: py-minisign is not installed.
    """
    if not keys:
        raise UsageError(
            "no key is trusted here", f"copy the maker's public key as a .pub file to {SYSTEM_KEYS} or the state folder"
        )
    if signature is None:
        raise BundleError("the bundle is not signed", "run: multigraft sign, and keep the .minisig file beside it")
    minisign = _minisign()
    with _said_as(minisign, BundleError, "the signature is damaged", "sign the bundle again"):
        made = minisign.Signature.from_bytes(signature)
    for path, key in keys.items():
        with _said_as(minisign, InputError, f"{path} is no public key", "copy it again"):
            public = minisign.PublicKey.from_bytes(key)
        with contextlib.suppress(minisign.VerifyError):
            public.verify(data, made)
            return path
    raise BundleError("no trusted key signed this bundle", "get it from its maker, or trust the key that signed it")


def sign(graft: Path, key: Path, ask: Callable[[], str], password: str | None = None) -> Path:
    """Write the signature of a .graft file beside it.

    Args:
        graft: The file.
        key: A secret key of minisign's format.
        ask: Asks for the key's password, where it has one and ``password`` is None.
        password: The key's password.

    Returns:
        The signature's path.

    Raises:
        InputError: A file cannot be read, the key is damaged, or the password is wrong.
        MissingDependencyError: py-minisign is not installed.
    """
    data = read_file(graft, LARGEST_GRAFT)
    Bundle.from_bytes(data, printable(str(graft)))
    minisign = _minisign()
    content = read_file(key, LARGEST_KEY)
    unusable = _said_as(minisign, InputError, f"{key} cannot be used", "give a secret key of minisign's, its password")
    with unusable, minisign.SecretKey.from_bytes(content) as secret:
        if secret.is_encrypted():
            secret.decrypt(ask() if password is None else password)
        name = "".join(letter for letter in graft.name if " " <= letter < "\x7f")
        made = secret.sign(data, trusted_comment=f"file:{name[:_NAME]}\tsha256:{files.sha256_of(data)}")
    path = graft.with_name(graft.name + SUFFIX)
    files.write_bytes(path, bytes(made) + b"\n")
    return path


def new_key(key: Path, password: str | None) -> Path:
    """Make a pair of keys: ``key`` is the secret one, which only its owner may read, and ``key.pub`` the public one.

    Args:
        key: Path of the secret key, which does not exist.
        password: Encrypts it; None for a key that whoever has the file can use.

    Returns:
        The public key's path.

    Raises:
        UsageError: One of the files exists, or cannot be written.
        MissingDependencyError: py-minisign is not installed.
    """
    minisign = _minisign()
    public_path = key.with_name(key.name + ".pub")
    for path in (key, public_path):
        if path.exists():
            raise UsageError(f"{path} exists already", "name another file")
    pair = minisign.KeyPair.generate()
    with pair.secret_key as secret:
        if password is not None:
            secret.encrypt(password)
        try:
            # Nobody else may read it, not even for a moment.
            handle = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as opened:
                opened.write(bytes(secret) + b"\n")
                opened.flush()
                os.fsync(handle)
        except OSError as error:
            raise UsageError(f"{key} cannot be written: {error.strerror}", "choose another folder") from error
    files.write_bytes(public_path, bytes(pair.public_key) + b"\n")
    return public_path


def _minisign() -> Any:
    try:
        import minisign
    except Exception as error:
        raise MissingDependencyError(
            f"signatures need py-minisign, which is {how_missing(error)}", install_extra("sign")
        ) from error
    return minisign


@contextlib.contextmanager
def _said_as(minisign: Any, kind: type[BundleError] | type[InputError], problem: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except minisign.Error as error:
        raise kind(f"{problem} ({printable(str(error))})", remedy) from error
