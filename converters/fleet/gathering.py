"""A run over the statistics of many devices: listed, sorted out, added up by an engine; a run after a kill goes on."""

from __future__ import annotations

import dataclasses
import json
import math
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multigraft.converters import urls
from multigraft.converters.fleet import choice
from multigraft.converters.fleet.engines import CHUNK, Engine
from multigraft.converters.fleet.head import Head, read_head
from multigraft.converters.fleet.parts import Job, Rules, batched, fits, joined_forms
from multigraft.converters.fleet.run_store import (
    ASIDE,
    CHOSEN,
    EXCLUDED,
    LISTED,
    SUMMED,
    UNREAD,
    RunStore,
    unusable,
)
from multigraft.converters.job.failed_step import reason_of
from multigraft.converters.job.progress import Report
from multigraft.converters.urls import Entry, UnreachableError
from multigraft.errors import InputError
from multigraft.statistics.statistics import Statistics
from multigraft.visible import visible

MOST_PLACES = 128
"""Sites and days that a sum holds apart: its report compares all with each other. The table of sites has them all."""

HEADS_AT_ONCE = 16
MOST_UNREAD = 64
"""Files in a row that cannot be read: then it is the place, and no file."""

_SUFFIX = ".mgstats"
_EVERY_S = 1.0


@dataclass(frozen=True)
class Wanted:
    """What a run is asked for.

    Attributes:
        names: Addresses, patterns, folders and paths.
        exclude: Patterns of addresses or sites that do not count.
        by: What sums are kept apart by: ``site``, ``day``, both, or nothing for one sum.
        output: What the run before wrote is no file of a site: it counts only where it is named itself.
    """

    names: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    output: str | None = None


@dataclass(frozen=True)
class Counted:
    """What became of the files.

    Attributes:
        files: That were found.
        summed: That count.
        aside: Address to the reason, of those that do not count.
        excluded: That were not wanted.
        idle: Patterns of what is not wanted that no file fits.
        reused: That an interrupted run had added up already.
        seconds: Of this run, up to the last sum.
    """

    files: int
    summed: int
    aside: dict[str, str]
    excluded: int
    idle: tuple[str, ...]
    reused: int
    seconds: float


class Gathering:
    """The sums and rows of a run that is done.

    Args:
        store: Of the run.
        counted: What became of the files.
    """

    def __init__(self, store: RunStore, counted: Counted) -> None:
        self.store = store
        self.counted = counted

    def sums(self) -> Iterator[tuple[str, Statistics]]:
        """Key and sum, in the order of the keys; one at a time is in memory."""
        keys = [key for (key,) in self.store.rows("SELECT DISTINCT key FROM sum ORDER BY key")]
        for key in keys:
            forms = self._forms(key)
            if forms:
                yield key, self._sum(key, forms)

    def _forms(self, key: str) -> list[str]:
        question = "SELECT DISTINCT form FROM file WHERE key = ? AND state = ? ORDER BY form"
        return [form for (form,) in self.store.rows(question, key, SUMMED)]

    def _sum(self, key: str, forms: Sequence[str]) -> Statistics:
        whole = self.store.sum_of(key, forms[0])
        for form in forms[1:]:
            whole = whole.merge(self.store.sum_of(key, form))
        if whole.noise is not None:
            # Rounded once: a sum of floats would depend on the order.
            question = "SELECT variance FROM file WHERE key = ? AND state = ? AND variance IS NOT NULL"
            variance = math.fsum(value for (value,) in self.store.rows(question, key, SUMMED))
            whole.noise = dataclasses.replace(whole.noise, variance=variance)
        whole.is_released = True
        return whole

    def smallest(self, key: str) -> int:
        """Frames of the smallest file in a sum."""
        question = "SELECT min(frames) FROM file WHERE key = ? AND state = ?"
        ((frames,),) = self.store.rows(question, key, SUMMED)
        return int(frames)


def gather(wanted: Wanted, path: Path, engine: Engine, report: Report) -> Gathering:
    """Find the files, choose those that count and add them up.

    Args:
        wanted: What is asked for.
        path: Of the run's store; where one is there, the run goes on that left it.
        engine: Who adds up.
        report: Is told how far it is.

    Raises:
        InputError: There is no file, none counts, or the place does not answer any more.
        UsageError: Another process is at it.
        DeviceError: A cluster does not answer.
        MissingDependencyError: A package is not installed.
    """
    # Listed first: where there is nothing, nothing is left behind.
    report("list the files")
    entries = _found(wanted)
    problems = {entry.url: entry.problem for entry in entries if entry.problem}
    store = RunStore(path)
    try:
        asked = json.dumps([wanted.exclude, wanted.by])
        store.list_files(entries, asked)
        store.set_aside(problems)
        del entries
        started = time.monotonic()
        _read_heads(store, report)
        if choice.is_overtaken(store):
            store.start_anew()
        reused = store.count(SUMMED)
        idle = choice.assign(store, wanted.by, wanted.exclude)
        _add_up(store, engine, report)
        _settle_forms(store)
        choice.set_superseded_aside(store)
        if not store.count(SUMMED):
            raise choice.none_counts(store)
        return Gathering(store, _counted(store, idle, reused, time.monotonic() - started))
    except BaseException as error:
        if isinstance(error, InputError) and not isinstance(error, UnreachableError):
            # The same command would say the same: there is nothing to go on with.
            store.remove()
        store.close()
        if isinstance(error, sqlite3.Error):
            raise unusable(path, error) from error
        raise


def _found(wanted: Wanted) -> list[Entry]:
    """Files of all names, without what this command writes."""
    # Names before the output: what is not there is said first.
    listed = [(name, list(urls.find(name, _SUFFIX))) for name in dict.fromkeys(wanted.names)]
    own = None if wanted.output is None else urls.address(wanted.output)
    found = []
    for name, entries in listed:
        is_meant = own is None or urls.address(name) == own
        for entry in entries:
            if not is_meant and (entry.url == own or entry.url.startswith(f"{own}/")):
                continue
            try:
                entry.url.encode()
            except UnicodeEncodeError:
                # Neither a store nor a list can hold it.
                problem = entry.problem or "its name is no text; name it otherwise"
                entry = Entry(visible(entry.url), entry.size, "", problem)
            found.append(entry)
    if not found:
        raise InputError(f"there is no file but {urls.masked(own or '')}, which is the output", "check the address")
    return found


def _counted(store: RunStore, idle: tuple[str, ...], reused: int, seconds: float) -> Counted:
    aside = "SELECT url, reason FROM file WHERE state IN (?, ?) ORDER BY url"
    ((files,),) = store.rows("SELECT count(*) FROM file")
    reasons = {urls.masked(url): urls.masked(reason) for url, reason in store.rows(aside, ASIDE, UNREAD)}
    return Counted(files, store.count(SUMMED), reasons, store.count(EXCLUDED), idle, reused, seconds)


def _read_heads(store: RunStore, report: Report) -> None:
    rate = _Rate("look at", store.count(LISTED), report)
    watch = _Watch()
    with ThreadPoolExecutor(HEADS_AT_ONCE) as pool:
        for batch in batched(_listed(store), HEADS_AT_ONCE * 8):
            heads, aside, unread = {}, {}, set()
            for entry, found in zip(batch, pool.map(_head, batch), strict=True):
                if isinstance(found, Head):
                    heads[entry.url] = found
                else:
                    aside[entry.url] = found.problem if isinstance(found, UnreachableError) else reason_of(found)
                    if isinstance(found, UnreachableError):
                        unread.add(entry.url)
            store.add_heads(heads, aside, unread)
            watch.saw(len(heads) + len(aside) - len(unread), [aside[url] for url in sorted(unread)])
            rate.done(len(batch))


def _listed(store: RunStore) -> Iterator[Entry]:
    """Files whose heads are to be read."""
    question = "SELECT url, size, version FROM file WHERE state = ? AND url > ? ORDER BY url LIMIT 256"
    for row in _paged(store, question, LISTED, ""):
        yield Entry(*row)


def _paged(store: RunStore, question: str, state: str, *after: str) -> Iterator[tuple[Any, ...]]:
    """Rows of files of a state, few at a time in memory: the state of those that were given may change meanwhile.

    Args:
        store: Of the run.
        question: In SQL, for some rows behind those that were given; it sorts by its first columns.
        state: Of the files.
        after: What stands before the first row, in those columns.
    """
    while rows := list(store.rows(question, state, *after)):
        yield from rows
        after = rows[-1][: len(after)]


def _head(entry: Entry) -> Head | Exception:
    try:
        return read_head(entry)
    except Exception as error:
        # Whatever somebody has put into a file: it is the file's fault, and no other's.
        return error


def _add_up(store: RunStore, engine: Engine, report: Report) -> None:
    subject = store.note("subject") or choice.subject_of(store)
    # A run that goes on has no say in it: what turned out to be broken meanwhile has.
    store.set_note("subject", subject)
    choice.set_foreign_aside(store, subject)
    ((files,),) = store.rows("SELECT count(*) FROM file")
    rules = Rules(subject, files, choice.apart_of(store, subject, MOST_PLACES))
    while store.count(CHOSEN) or (chosen := choice.choose(store)):
        if not store.count(CHOSEN):
            store.set_state(CHOSEN, chosen)
        rate, watch = _Rate("add up", store.count(CHOSEN), report), _Watch()
        for part in engine(batched(_jobs(store), CHUNK), rules):
            store.add(part)
            read = len(part.form_of) + len(part.aside) - len(part.unread)
            watch.saw(read, [part.aside[url] for url in sorted(part.unread)])
            rate.done(read + len(part.unread))


def _jobs(store: RunStore) -> Iterator[Job]:
    """Chosen files, those of one sum one after the other."""
    question = (
        "SELECT key, url, size, version, digest FROM file WHERE state = ? AND (key, url) > (?, ?) "
        "ORDER BY key, url LIMIT 256"
    )
    for key, url, size, version, digest in _paged(store, question, CHOSEN, "", ""):
        yield Job(Entry(url, size, version), digest, key)


def _settle_forms(store: RunStore) -> None:
    """Of files whose arrays do not fit each other the form of most counts, and what fits that."""
    counts = (
        "SELECT form.name, form.form, count(*) FROM file JOIN form ON form.name = file.form WHERE state = ? "
        "GROUP BY form.name ORDER BY count(*) DESC, form.name"
    )
    whole = "{}"
    odd = []
    for name, form, _ in store.rows(counts, SUMMED):
        if fits(whole, form):
            whole = joined_forms(whole, form)
        else:
            odd.append(name)
    for name in odd:
        rows = list(store.rows("SELECT url FROM file WHERE state = ? AND form = ?", SUMMED, name))
        store.set_aside(
            {
                url: "its numbers are of other lengths than those of most files; collect with one version"
                for (url,) in rows
            }
        )


class _Watch:
    """Ends a run whose place does not answer any more, so that it can go on later."""

    def __init__(self) -> None:
        self._unread = 0

    def saw(self, read: int, problems: Sequence[str]) -> None:
        """Take how many files were read, and why others were not."""
        self._unread = 0 if read else self._unread + len(problems)
        if self._unread >= MOST_UNREAD:
            raise UnreachableError(
                f"the last {self._unread} files could not be read ({problems[-1]})",
                "check the network; the same command goes on where this one ended",
            )


class _Rate:
    """Tells a report how far a step is, how fast, and how long it may still take."""

    def __init__(self, what: str, files: int, report: Report) -> None:
        self._what, self._files, self._report = what, files, report
        self._done, self._start, self._said = 0, time.monotonic(), 0.0

    def done(self, files: int) -> None:
        """Count files."""
        self._done += files
        now = time.monotonic()
        if now - self._said < _EVERY_S and self._done < self._files:
            return
        self._said = now
        rate = self._done / max(1e-9, now - self._start)
        left = (self._files - self._done) / max(1e-9, rate)
        end = f"{left // 60:.0f}:{left % 60:02.0f} left"
        self._report(f"{self._what} files ({self._done:,} of {self._files:,}), {rate:,.0f} a second, {end}")
