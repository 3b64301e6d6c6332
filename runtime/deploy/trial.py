"""A new bundle is on trial until it has served well once; one that fails rolls back by itself.

A service calls :func:`starting` for the bundle to serve, and :func:`settled` once it has served it well for its first
minutes. Whatever ends it before that (a crash, a missed watchdog, a kill) is a failed start, since the next start finds
the bundle unsettled: after :data:`TRIALS` of them the one before is served again. One that was told to end, and did
(:func:`ended`), has not failed.

Where the machine itself went down by a power cut, the kernel has another boot id at the next start. That is no failed
start, and more of them are borne (:data:`OUTAGES`); not without end, since a bundle can bring a machine down, too.

``trial.json``: ``bundle`` (digest of the one that was deployed last), ``starts`` (of it), ``boot`` (the kernel's id at
the last of them), ``ended`` (whether the last of them was told to end, and did), ``outages``, ``since`` (seconds since
1970), ``settled``, and ``good``: digests that have settled, the latest first.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multigraft import files
from multigraft.errors import BundleError, InputError, UsageError
from multigraft.reading import UnreadableError, read_json
from multigraft.runtime.deploy import store

TRIALS = 3
"""Starts that a bundle may fail."""
OUTAGES = 10
"""Starts of a bundle that may end with the machine."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""random(4): another one after every boot. A container has that of the machine below."""
TRIAL = "trial.json"
_MOST = 1 << 20
_SHOWN = 12


@dataclass(frozen=True)
class Trial:
    """What ``trial.json`` holds.

    Attributes:
        bundle: Digest of the bundle that ``starts`` counts.
        starts: How often it was started without having settled; those that ended with the machine, or were told to
            end, are taken off at the next one.
        boot: The kernel's boot id at the last of these starts; empty where it is not known.
        ended: Whether the last of these starts was told to end, and did.
        outages: How many starts ended with the machine.
        since: When it was deployed, in seconds since 1970.
        good: Digests of bundles that have settled, the latest first.
    """

    bundle: str = ""
    starts: int = 0
    boot: str = ""
    ended: bool = False
    outages: int = 0
    since: float = 0.0
    good: tuple[str, ...] = ()

    def starts_of(self, digest: str) -> int:
        """Failed or running starts of a bundle on trial; 0 for one that was never started."""
        return self.starts if digest == self.bundle else 0

    def without_last(self, boot: str) -> Trial:
        """The same before a further start, without the last one where that did not fail.

        Args:
            boot: The kernel's boot id now: after another one, the last start ended with the machine.
        """
        if not self.starts:
            return self
        if self.ended:
            return dataclasses.replace(self, starts=self.starts - 1, ended=False)
        if self.boot and boot and self.boot != boot:
            return dataclasses.replace(self, starts=self.starts - 1, outages=self.outages + 1, boot=boot)
        return self


def read_trial(state: Path) -> Trial:
    """How the current bundle does; without a file, or with a damaged one, nothing is known of any."""
    try:
        data = read_json(state / TRIAL, _MOST)
    except (InputError, UnreadableError):
        return Trial()
    data = data if isinstance(data, dict) else {}
    good = data.get("good")
    return Trial(
        bundle=str(data.get("bundle", "")),
        starts=_number(data.get("starts"), int),
        boot=str(data.get("boot", "")),
        ended=data.get("ended") is True,
        outages=_number(data.get("outages"), int),
        since=_number(data.get("since"), float),
        good=tuple(str(digest) for digest in good) if isinstance(good, list) else (),
    )


def starting(state: Path, say: Callable[[str], None] | None = None, boot_id: Path = BOOT_ID) -> Path:
    """The bundle to serve now; counts this start of one that is on trial.

    A bundle that has failed :data:`TRIALS` starts, that went down with the machine more than :data:`OUTAGES` times, or
    whose files are damaged, is given up for the previous one (or the last that settled). Without another that is whole,
    one on trial is given again.

    Args:
        state: The state folder.
        say: Is told, in a sentence, why another bundle is served; without it standard error is.
        boot_id: Where the kernel tells its boot id; where it does not, every start on trial counts as one that failed.

    Returns:
        The folder of an unpacked bundle; its name is the digest. It stays there while another is deployed.

    Raises:
        UsageError: No bundle was deployed.
        BundleError: The only bundle there is damaged.
    """
    say = say or _say
    boot = _boot(boot_id)
    with store.locked(state):
        folder = store.current(state)
        trial = read_trial(state).without_last(boot)
        if folder is None or not _may_be_whole(folder):
            return _started(state, _instead_of_damaged(state, folder, trial, say), trial, boot, say)
        why = None if folder.name in trial.good else _why_not(folder, trial)
        if why is not None:
            other = _other(state, folder, trial)
            if other is not None:
                say(f"bundle {folder.name[:_SHOWN]} {why}; rolled back to {other.name[:_SHOWN]}.")
                _try_to(lambda: switch_back(state, other), say)
                folder, trial = other, read_trial(state)
        return _started(state, folder, trial, boot, say)


def settled(state: Path, folder: Path | None = None) -> None:
    """Say that the current bundle has served well; its trial ends.

    Args:
        state: The state folder.
        folder: What :func:`starting` gave: nothing is noted if another bundle was deployed meanwhile. Without it, a
            bundle that was never started is not settled either.

    Raises:
        OSError: It cannot be noted: the disk is full.
    """
    with store.locked(state):
        now, trial = store.current(state), read_trial(state)
        if now is None or now.name in trial.good or (folder is not None and folder.name != now.name):
            return
        if trial.starts_of(now.name):
            good = (now.name, *trial.good)
            write_trial(state, dataclasses.replace(trial, bundle=now.name, starts=0, outages=0, good=good))


def can_be_noted(state: Path) -> bool:
    """Whether a start could be counted now: there is room, and the folder may be written."""
    try:
        with store.locked(state):
            write_trial(state, read_trial(state))
    except (OSError, UsageError):
        return False
    return True


def ended(state: Path, folder: Path) -> None:
    """Say that a start was told to end, and did: if the bundle is on trial, this is no start that failed.

    Args:
        state: The state folder.
        folder: What :func:`starting` gave.

    Raises:
        OSError: It cannot be noted: the disk is full.
    """
    with store.locked(state):
        trial = read_trial(state)
        if folder.name not in trial.good and trial.starts_of(folder.name):
            write_trial(state, dataclasses.replace(trial, ended=True))


def switch_to(state: Path, folder: Path) -> None:
    """Let a bundle be served from the next start on, on trial; the one that is served now becomes the previous one.

    Raises:
        OSError: The state folder cannot be written; the one that is served stays.
    """
    with store.locked(state):
        before, trial = store.current(state), read_trial(state)
        if before is not None and before.name == folder.name:
            return
        good = tuple(digest for digest in trial.good if digest != folder.name)
        write_trial(state, Trial(folder.name, since=time.time(), good=good))
        if before is not None:
            # One that has been started and has not settled is nothing to come back to.
            known = before.name in trial.good or not trial.starts_of(before.name)
            if known or store.previous(state) in (None, folder):
                store.link(state, store.PREVIOUS, before)
        store.link(state, store.CURRENT, folder)


def roll_back(state: Path) -> Path:
    """Serve the previous bundle from the next start on.

    Returns:
        Its folder.

    Raises:
        UsageError: There is none that is whole.
    """
    with store.locked(state):
        now, trial = store.current(state), read_trial(state)
        other = _other(state, now, trial)
        if other is None:
            raise UsageError("there is no bundle to come back to", "deploy another one")
        switch_back(state, other)
        return other


def switch_back(state: Path, other: Path) -> None:
    """Let an older bundle be served; the caller holds the lock. The bundle before that one becomes the previous one."""
    trial = read_trial(state)
    failed = store.current(state)
    store.link(state, store.CURRENT, other)
    good = tuple(digest for digest in trial.good if failed is None or digest != failed.name)
    write_trial(state, Trial(other.name, since=time.time(), good=good))
    before = [digest for digest in good if digest != other.name and store.bundle_folder(state, digest).is_dir()]
    if before:
        store.link(state, store.PREVIOUS, store.bundle_folder(state, before[0]))
    else:
        store.unlink(state, store.PREVIOUS)


def write_trial(state: Path, trial: Trial) -> None:
    """Write ``trial.json``, whole or not at all.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    good = [digest for digest in trial.good if store.bundle_folder(state, digest).is_dir()]
    data = {**dataclasses.asdict(trial), "settled": trial.bundle in trial.good, "good": good}
    files.write_bytes(state / TRIAL, json.dumps(data, indent=1).encode() + b"\n")


def _why_not(folder: Path, trial: Trial) -> str | None:
    """Why a bundle on trial is given up, None if it may be started once more."""
    if trial.starts_of(folder.name) >= TRIALS:
        return f"did not settle in {TRIALS} starts"
    if folder.name == trial.bundle and trial.outages > OUTAGES:
        return f"was on trial each of the {trial.outages} times that the machine went down"
    return None


def _boot(boot_id: Path) -> str:
    try:
        return boot_id.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _may_be_whole(folder: Path) -> bool:
    try:
        return store.is_whole(folder)
    except MemoryError:
        # Nothing is known of it; the start is counted, and will hardly end well.
        return True


def _instead_of_damaged(state: Path, folder: Path | None, trial: Trial, say: Callable[[str], None]) -> Path:
    other = _other(state, folder, trial)
    if folder is None and other is None:
        raise UsageError(f"no bundle is deployed in {state}", "run: multigraft deploy BUNDLE")
    if other is None:
        raise BundleError(f"bundle {folder} is damaged, and there is no other", "deploy it again")
    lost = "the current bundle is missing" if folder is None else f"bundle {folder.name[:_SHOWN]} is damaged"
    say(f"{lost}; {other.name[:_SHOWN]} is served in its place.")
    _try_to(lambda: switch_back(state, other), say)
    return other


def _other(state: Path, folder: Path | None, trial: Trial) -> Path | None:
    """Another bundle that is whole: the previous one, or the last that settled."""
    settled_ones = (store.bundle_folder(state, digest) for digest in trial.good)
    for other in (store.previous(state), *settled_ones):
        if other is not None and other != folder and store.is_whole(other):
            return other
    return None


def _started(state: Path, folder: Path, trial: Trial, boot: str, say: Callable[[str], None]) -> Path:
    """Count a start of a bundle on trial; where that cannot be noted, one that needs no trial is served."""
    if folder.name in trial.good:
        return folder
    outages = trial.outages if folder.name == trial.bundle else 0
    starts = trial.starts_of(folder.name) + 1
    counted = dataclasses.replace(trial, bundle=folder.name, starts=starts, boot=boot, ended=False, outages=outages)
    if _try_to(lambda: write_trial(state, counted), say):
        return folder
    return _other(state, folder, trial) or folder


def _try_to(step: Callable[[], Any], say: Callable[[str], None]) -> bool:
    """Whether a step that writes could be done; a full disk must not keep a service from starting."""
    try:
        step()
    except (OSError, UsageError) as error:
        why = error.problem if isinstance(error, UsageError) else os.strerror(error.errno or 0)
        say(f"the state folder cannot be written ({why}); make room on its disk.")
        return False
    return True


def _say(sentence: str) -> None:
    print(f"multigraft: {sentence}", file=sys.stderr)


def _number(value: Any, kind: type[int] | type[float]) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    return kind(value) if is_number and abs(value) < 1 << 53 else kind(0)
