"""Which of many files count: of each store its newest release, no frame twice, and files of one subject alone.

All of it follows from the files, not from the order in which they came.
"""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Sequence

from multigraft.converters.fleet.run_store import CHOSEN, EXCLUDED, KNOWN, SUMMED, RunStore
from multigraft.errors import InputError, UsageError
from multigraft.statistics.release import Release, Releases

KEYS = ("site", "day")
"""What sums may be kept apart by."""


def parse_by(text: str | None) -> tuple[str, ...]:
    """What ``--by`` asks for.

    Raises:
        UsageError: It is something else.
    """
    by = tuple(part.strip() for part in text.split(",")) if text is not None else ()
    if any(part not in KEYS for part in by) or len(set(by)) != len(by):
        raise UsageError(f"--by {text} is no list of {' and '.join(KEYS)}", "write site, day, or site,day")
    return by


def assign(store: RunStore, by: Sequence[str], exclude: Sequence[str]) -> tuple[str, ...]:
    """Leave out what is not wanted, and give every other file the key of its sum.

    Args:
        store: Of the run; heads are read.
        by: Of :data:`KEYS`.
        exclude: Patterns as of a shell; files whose address or one of whose sites fits do not count.

    Returns:
        The patterns that no file fits.
    """
    idle = dict.fromkeys(exclude)
    excluded: list[str] = []
    keys: list[tuple[str, str]] = []
    question = "SELECT url, site, day FROM place ORDER BY url, site, day"
    for url, rows in itertools.groupby(store.rows(question), key=lambda row: row[0]):
        places = [(site, day) for _, site, day in rows]
        sites, days = sorted({site for site, _ in places}), sorted({day for _, day in places})
        fitting = [pattern for pattern in exclude if any(fnmatch.fnmatchcase(name, pattern) for name in (url, *sites))]
        for pattern in fitting:
            idle.pop(pattern, None)
        if fitting:
            excluded.append(url)
            continue
        of = {
            "site": sites[0] if len(sites) == 1 else f"{len(sites)} sites from {sites[0]}",
            "day": days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
        }
        keys.append((url, " ".join(of[part] for part in by)))
    # What was set aside unread has no site, and an address all the same.
    for (url,) in store.rows("SELECT url FROM file") if idle else ():
        for pattern in [pattern for pattern in idle if fnmatch.fnmatchcase(url, pattern)]:
            del idle[pattern]
    store.set_state(EXCLUDED, excluded)
    store.set_keys(keys)
    return tuple(idle)


def subject_of(store: RunStore) -> str:
    """What most files are about; of equally many, whole frames before crops.

    Raises:
        InputError: No file may count.
    """
    question = (
        "SELECT subject FROM file WHERE state IN (?, ?, ?) GROUP BY subject "
        "ORDER BY count(*) DESC, crops = '' DESC, subject LIMIT 1"
    )
    for (subject,) in store.rows(question, KNOWN, CHOSEN, SUMMED):
        return str(subject)
    raise none_counts(store)


def none_counts(store: RunStore) -> InputError:
    """The error where no file is left, with the first reason."""
    reasons = [
        reason for (reason,) in store.rows("SELECT reason FROM file WHERE reason IS NOT NULL ORDER BY url LIMIT 1")
    ]
    why = f" (the first: {reasons[0]})" if reasons else ""
    return InputError(f"none of the files counts{why}", "check the address, and what collect wrote there")


def set_foreign_aside(store: RunStore, subject: str) -> None:
    """Name the files of other networks, settings or crops."""
    question = "SELECT url, crops, networks FROM file WHERE state = ? AND subject != ?"
    aside = {}
    for url, crops, networks in list(store.rows(question, KNOWN, subject)):
        of = f"crops of what {crops} found" if crops else "whole frames"
        aside[url] = f"it is of other networks, settings or crops than most files: {networks} on {of}"
    store.set_aside(aside)


def choose(store: RunStore) -> list[str]:
    """Files that are to be added up besides those that are; none is left when all is done.

    Of a store's releases the newest counts, and of files that hold frames of one store the one with most frames: a sum
    of many sites before a file of one of them.
    """
    taken: set[str] = set()
    contents: set[str] = set()
    for _, digest, _, releases in store.heads(SUMMED):
        contents.add(digest)
        taken |= releases.keys()
    newest: dict[str, tuple[tuple[int, int, str], str]] = {}
    several: list[tuple[int, str, str, Releases]] = []
    for url, digest, frames, releases in store.heads(KNOWN):
        if len(releases) == 1:
            ((name, release),) = releases.items()
            # Of a store that was copied two files may claim one number.
            rank = release.number, frames, digest
            if name not in newest or rank > newest[name][0]:
                newest[name] = rank, url
        else:
            several.append((frames, digest, url, releases))
    several += [(rank[1], rank[2], url, {name: Release(rank[0], rank[1])}) for name, (rank, url) in newest.items()]
    chosen = []
    for _, digest, url, stores in sorted(several, key=lambda file: (-file[0], file[1], file[2])):
        if digest not in contents and not stores.keys() & taken:
            chosen.append(url)
            contents.add(digest)
            taken |= stores.keys()
    return chosen


def is_overtaken(store: RunStore) -> bool:
    """Whether a file that could not be read before, and can be now, would have had a say in what was decided.

    A head has: in what most files are about, and in how many sites and days there are. Of one whose head was known, its
    stores have, where another file of one of them was taken.
    """
    if store.note("subject") is None:
        return False
    taken = {s for state in (CHOSEN, SUMMED) for _, _, _, releases in store.heads(state) for s in releases}
    return any(
        url in store.headless or (url in store.revived and releases.keys() & taken)
        for url, _, _, releases in store.heads(KNOWN)
    )


def set_superseded_aside(store: RunStore) -> None:
    """Name the files that others stand for."""
    holder: dict[str, tuple[str, Release, int]] = {}
    contents: dict[str, str] = {}
    for url, digest, _, releases in store.heads(SUMMED):
        contents[digest] = url
        holder |= {name: (url, release, len(releases)) for name, release in releases.items()}
    aside = {}
    for url, digest, _, releases in store.heads(KNOWN):
        shared = min(releases.keys() & holder.keys(), default=None)
        if digest in contents:
            aside[url] = f"it is the same as {contents[digest]}, which counts"
        elif shared is not None:
            aside[url] = _superseded(releases, shared, *holder[shared])
        else:
            aside[url] = "it does not count"
    store.set_aside(aside)


def _superseded(releases: Releases, shared: str, other: str, release: Release, stores: int) -> str:
    if len(releases) > 1 or stores > 1:
        return f"it holds frames of store {shared}, which {other} holds, too, and that counts"
    number = releases[shared].number
    if number == release.number:
        return (
            f"it says that it is release {number} of store {shared}, as {other} does, and differs: the store was copied"
        )
    return f"it is outdated: release {number} of store {shared}, of which {other} is release {release.number}"


def apart_of(store: RunStore, subject: str, most: int) -> dict[str, str]:
    """Key to how far sites and days are held apart: so far that there are no more than ``most`` places."""
    counts = (
        "SELECT key, count(DISTINCT site || char(10) || day), count(DISTINCT day) FROM place "
        "JOIN file ON file.url = place.url WHERE subject = ? AND state != ? GROUP BY key"
    )
    return {
        key: "site and day" if places <= most else "day" if days <= most else "nothing"
        for key, places, days in store.rows(counts, subject, EXCLUDED)
    }
