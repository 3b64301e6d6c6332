"""Adding up files anywhere: what one process makes of some of them, and how two such parts become one.

A :class:`Part` is a commutative monoid: sums are integers; beside them there are rows and reasons, each once a file. So
every order and every tree of additions gives the same. Three things would depend on the order, and are settled file
by file before:

- **Overflow.** A sum that leaves its range is refused where it happens. Each file may fill but its share of the range.
- **Forms.** Counts of unequal lengths do not add up. Files are added up per form, the table of these lengths; which
  forms count is decided at the end.
- **Places.** Which days and sites are held apart follows from the list of all files.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from multigraft import files
from multigraft.converters.fleet.head import digest_of_subject, read_whole
from multigraft.converters.fleet.packing import packed
from multigraft.converters.job.failed_step import reason_of
from multigraft.converters.urls import Entry, UnreachableError
from multigraft.errors import InputError, MultigraftError
from multigraft.reading import printable
from multigraft.statistics import entries
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.subject import Subject
from multigraft.statistics.tally import Tally

READ_AHEAD = 8
"""Files that are read at the same time; no more are in memory."""

ALL_SITES = "all sites"
EVER = "0001-01-01"
"""Stands for all days, where there are too many to hold apart."""

_SUM_BITS, _COUNT_BITS, _SIMILARITY_BITS = 60, 61, 2300
"""Of the ranges of exact sums, of counts and of sums of similarity, a bit less than there is."""

Item = TypeVar("Item")

Apart = str
"""How far sites and days are held apart: ``site and day``, ``day`` or ``nothing``."""


@dataclass(frozen=True)
class Job:
    """A file to add up.

    Attributes:
        entry: Where it is.
        digest: Of its content when it was chosen.
        key: Of the sum that it goes to.
    """

    entry: Entry
    digest: str
    key: str


@dataclass(frozen=True)
class Rules:
    """What holds for all files.

    Attributes:
        subject: Digest of what they are about.
        share: Files that there may be: each may fill one part in so many of a sum's range.
        apart: Key to how far its sites and days are held apart.
    """

    subject: str
    share: int
    apart: Mapping[str, Apart]


@dataclass(frozen=True)
class Row:
    """What one file says of a site and day.

    Attributes:
        url: The file.
        site: Site.
        day: Day.
        tally: Its :class:`~multigraft.statistics.tally.Tally`, packed.
    """

    url: str
    site: str
    day: str
    tally: bytes


@dataclass
class Part:
    """What came of some files.

    Attributes:
        sums: Key and form to the sum of the files of that key and form.
        forms: Digest of a form to the form: names of arrays and their shapes, as JSON.
        form_of: Address of a file that was added up to its form.
        variances: Address to the variance of the noise in it, of files with noise.
        rows: Of these files.
        aside: Address to the reason why a file does not count.
        unread: Those of them that could not be read.
    """

    sums: dict[tuple[str, str], Statistics] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)
    form_of: dict[str, str] = field(default_factory=dict)
    variances: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    aside: dict[str, str] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)

    def take_all(self, jobs: Iterable[Job], rules: Rules) -> None:
        """Add files, the next of which are read meanwhile, or the reason why one does not count."""
        with ThreadPoolExecutor(READ_AHEAD) as pool:
            for batch in batched(jobs, READ_AHEAD):
                for job, read in zip(batch, pool.map(_read, batch), strict=True):
                    self._take(job, rules, read)

    def _take(self, job: Job, rules: Rules, read: Statistics | tuple[str, bool]) -> None:
        url = job.entry.url
        if isinstance(read, Statistics):
            try:
                form, sites = _admitted(read, rules)
                one = _held_apart(read, rules.apart[job.key])
            except Exception as error:
                read = reason_of(error), False
            else:
                name = files.sha256_of(form.encode())
                self.merge(Part({(job.key, name): one}, {name: form}, {url: name}))
                if read.noise is not None:
                    self.variances[url] = read.noise.variance
                self.rows += [Row(url, site, day, tally) for (site, day), tally in sites.items()]
                return
        self.aside[url] = read[0]
        if read[1]:
            self.unread.add(url)

    def merge(self, other: Part) -> None:
        """Add what another process made of other files."""
        for place, sums in other.sums.items():
            self.sums[place] = self.sums[place].merge(sums) if place in self.sums else sums
        self.forms |= other.forms
        self.form_of |= other.form_of
        self.variances |= other.variances
        self.rows += other.rows
        self.aside |= other.aside
        self.unread |= other.unread


def part_of(jobs: tuple[Job, ...], rules: Rules) -> Part:
    """What one worker makes of its files."""
    part = Part()
    part.take_all(jobs, rules)
    return part


def batched(items: Iterable[Item], count: int) -> Iterator[tuple[Item, ...]]:
    """Items, so many at a time."""
    rest = iter(items)
    while batch := tuple(itertools.islice(rest, count)):
        yield batch


def fits(form: str, other: str) -> bool:
    """Whether files of two forms add up: no name stands for arrays of two shapes."""
    first, second = json.loads(form), json.loads(other)
    return all(first[name] == second[name] for name in first.keys() & second.keys())


def joined_forms(form: str, other: str) -> str:
    """The form of the sum of files of two forms that fit."""
    return _text({**json.loads(form), **json.loads(other)})


def _read(job: Job) -> Statistics | tuple[str, bool]:
    """The file, or why not and whether it could not be read at all."""
    try:
        head, statistics = read_whole(job.entry)
    except UnreachableError as error:
        return error.problem, True
    except Exception as error:
        # Whatever somebody has put into a file: it is the file's fault, and no other's.
        return reason_of(error), False
    if head.digest != job.digest:
        return "it was replaced while it was read; run the command again", False
    return statistics


def _admitted(statistics: Statistics, rules: Rules) -> tuple[str, dict[tuple[str, str], bytes]]:
    """The form, and the tallies per place; refused where it could spoil a sum.

    Raises:
        InputError: It holds more than its share, lacks frames, or contradicts itself.
    """
    if _subject_digest(statistics.subject) != rules.subject:
        raise InputError("it is of other networks or settings than its manifest says", "collect again")
    tallies = (statistics.overall, *statistics.places.values())
    if any(_beyond(tally, rules.share) for tally in tallies) or any(
        abs(value) >> _SIMILARITY_BITS - rules.share.bit_length()
        for sums in (*statistics.groups, *statistics.periods)
        for value in sums.integers
    ):
        raise InputError("it holds numbers that no camera gives, and that would fill a sum alone", "collect again")
    try:
        statistics.coalesced()
    except MultigraftError as error:
        raise InputError(error.problem, "collect again") from error
    form: dict[str, object] = {}
    fixed = _fixed(statistics.subject)
    for tally in tallies:
        for kind, arrays in (("sum", tally.sums), ("count", tally.counts)):
            for name, array in arrays.items():
                if tally is statistics.overall and f"{kind}/{name}" in fixed:
                    continue
                if form.setdefault(f"{kind}/{name}", list(array.shape)) != list(array.shape):
                    raise InputError(f"its arrays {printable(name)} are of two lengths", "collect again")
    if statistics.noise is not None:
        form["noise"] = repr(statistics.noise.bounds)
    return _text(form), {place: packed(tally.to_arrays()) for place, tally in statistics.places.items()}


@functools.lru_cache(maxsize=4)
def _subject_digest(subject: Subject) -> str:
    return digest_of_subject(subject.to_json())


@functools.lru_cache(maxsize=4)
def _fixed(subject: Subject) -> frozenset[str]:
    """Arrays over all frames whose shapes follow from the taps, and were compared with them when the file was read."""
    taps = [tap.name for tap in subject.taps]
    of_one = entries.channel_sums, entries.channel_squares, entries.first_moments, entries.second_moments
    sums = {name(tap) for name in of_one for tap in taps}
    sums |= {entries.cross_moments(one, other) for one in taps for other in taps}
    return frozenset({f"sum/{name}" for name in sums} | {f"count/{entries.value_counts(tap)}" for tap in taps})


def _beyond(tally: Tally, share: int) -> bool:
    """Whether it holds more than its share of a range."""
    most_sum, most_count = (1 << bits - share.bit_length() for bits in (_SUM_BITS, _COUNT_BITS))
    sums = (values.to_array()[0] for values in tally.sums.values())
    return (
        max(tally.frames, tally.minibatches) > most_count
        or any(((high > most_sum) | (high < -most_sum)).any() for high in sums)
        or any(int(np.max(counts, initial=0)) > most_count for counts in tally.counts.values())
    )


def _held_apart(statistics: Statistics, apart: Apart) -> Statistics:
    """The same statistics, with sites and days held apart as far as that."""
    if apart == "site and day":
        return statistics
    places: dict[tuple[str, str], Tally] = {}
    for (_, day), tally in statistics.places.items():
        place = ALL_SITES, day if apart == "day" else EVER
        places[place] = places[place].merge(tally) if place in places else tally
    statistics.places = places
    return statistics


def _text(form: Mapping[str, object]) -> str:
    return json.dumps(form, sort_keys=True, separators=(",", ":"))
