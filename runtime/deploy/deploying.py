"""A .graft file becomes the bundle that this machine serves: checked, unpacked, tried in a child process, switched."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from multigraft import files
from multigraft.bundle.bundle import Bundle
from multigraft.errors import DeviceError, MultigraftError, UsageError
from multigraft.reading import printable
from multigraft.runtime.backends import BackendName
from multigraft.runtime.deploy import proof, store, trial
from multigraft.runtime.deploy.signatures import check_signature, trusted_keys

KEPT = 2
"""Bundles that stay beside current and previous."""
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Policy:
    """How a machine takes a bundle.

    Attributes:
        backend: Interpreter of the self-test.
        threads: Threads of it.
        require_signature: Take nothing unsigned; where a key is trusted that is so without asking.
        kept: How many bundles stay beside current and previous.
        restart: A systemd unit to restart if it runs; None for none: a service that looks for itself needs none.
        wait_s: Seconds to wait until the service has settled on the bundle; 0 for not waiting.
    """

    backend: BackendName = "auto"
    threads: int = 1
    require_signature: bool = False
    kept: int = KEPT
    restart: str | None = None
    wait_s: float = 0.0


@dataclass(frozen=True)
class Deployed:
    """What is served from the next start on.

    Attributes:
        bundle: Its name.
        digest: SHA-256 of its .graft file.
        before: Digest of what was served before; None where nothing was.
        is_new: False where it was served already.
        self_test: How its golden inputs came out, in words.
        signed_by: The trusted key that signed it; None where none was asked for.
        pruned: Digests of bundles that were removed.
    """

    bundle: str
    digest: str
    before: str | None
    is_new: bool
    self_test: str
    signed_by: str | None
    pruned: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def deploy(
    data: bytes, signature: bytes | None, state: Path, policy: Policy | None = None, name: str = "the bundle"
) -> Deployed:
    """Take a bundle; whatever fails or ends this process on the way leaves what was served.

    Args:
        data: Content of a .graft file.
        signature: Content of its signature, if there is one.
        state: The state folder.
        policy: How.
        name: What a sentence calls the file.

    Raises:
        BundleError: It is no bundle, is not signed as it has to be, or fails its self-test.
        DeviceError: It cannot be stored, the unit cannot be restarted, or the service did not settle on it.
        UsageError: The state folder cannot be made.
    """
    policy = policy or Policy()
    digest = files.sha256_of(data)
    keys = trusted_keys(state)
    signed_by = check_signature(data, signature, keys) if keys or policy.require_signature else None
    bundle = Bundle.from_bytes(data, name)
    store.make_state(state)
    try:
        with store.locked(state, "deploying"):
            deployed = _deploy(bundle, digest, signed_by, state, policy)
    except OSError as error:
        if isinstance(error, MultigraftError):
            raise
        raise DeviceError(
            f"the bundle cannot be stored in {printable(str(state))}: {error.strerror}; what was served still is",
            "check the space on its disk and who may write there",
        ) from error
    if policy.restart is not None and deployed.is_new:
        _restart(policy.restart)
    if policy.wait_s:
        wait_settled(state, digest, policy.wait_s)
    return deployed


def _deploy(bundle: Bundle, digest: str, signed_by: str | None, state: Path, policy: Policy) -> Deployed:
    before = store.current(state)
    served = None if before is None else before.name
    known = store.bundle_folder(state, digest).is_dir()
    folder = store.put(state, digest, bundle)
    try:
        tested = proof.prove(folder, policy.backend, policy.threads)
    except MultigraftError:
        if not known:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    trial.switch_to(state, folder)
    pruned = store.prune(state, (), policy.kept)
    name = bundle.manifest.name
    return Deployed(name, digest, served, served != digest, tested, signed_by, tuple(pruned))


def wait_settled(state: Path, digest: str, seconds: float) -> None:
    """Wait until the service has settled on a bundle.

    Raises:
        DeviceError: It rolled back, or did not settle in time.
    """
    end = time.monotonic() + seconds
    while True:
        now = store.current(state)
        if now is None or now.name != digest:
            raise DeviceError("the service rolled back from the bundle", "look at its log, and at the bundle")
        if digest in trial.read_trial(state).good:
            return
        if time.monotonic() > end:
            raise DeviceError(
                f"the service did not settle on the bundle within {seconds:g} s", "look at its status, or wait longer"
            )
        time.sleep(_LOOK_SECONDS)


def _restart(unit: str) -> None:
    if unit.startswith("-"):
        raise UsageError(f"{unit} is no unit", "name one such as multigraft.service")
    try:
        done = subprocess.run(["systemctl", "try-restart", unit], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise DeviceError(
            f"the bundle is deployed, and {unit} cannot be restarted: there is no systemctl", "restart it"
        ) from None
    if done.returncode != 0:
        said = printable((done.stderr.strip().splitlines() or ["no reason given"])[-1]).rstrip(".")
        raise DeviceError(
            f"the bundle is deployed, and {unit} cannot be restarted: {said}", "restart it as a user who may"
        )
