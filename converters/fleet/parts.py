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

from multigraft import files
from multigraft.converters.fleet.admission import admit, form_text
from multigraft.converters.fleet.head import LARGEST_CONTENT, read_whole
from multigraft.converters.fleet.packing import packed
from multigraft.converters.fleet.turns import Turn
from multigraft.converters.job.failed_step import reason_of
from multigraft.converters.urls import Entry, UnreachableError
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.tally import Tally

READ_AHEAD = 8
"""Files that are read at the same time; no more are in memory."""

ALL_SITES = "all sites"
EVER = "0001-01-01"
"""Stands for all days, where there are too many to hold apart."""

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
                for job, read in zip(batch, pool.map(functools.partial(_read, rules=rules), batch), strict=True):
                    if isinstance(read, Part):
                        self.merge(read)
                    else:
                        self.aside[job.entry.url], is_unread = read
                        if is_unread:
                            self.unread.add(job.entry.url)

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
    return form_text({**json.loads(form), **json.loads(other)})


def _read(job: Job, rules: Rules) -> Part | tuple[str, bool]:
    """A file as a part, or why not and whether it could not be read at all."""
    try:
        with Turn(LARGEST_CONTENT) as turn:
            head, statistics = read_whole(job.entry, turn)
            if head.digest != job.digest:
                return "it was replaced while it was read; run the command again", False
            return _part_of_one(job, rules, statistics)
    except UnreachableError as error:
        return error.problem, True
    except Exception as error:
        # Whatever somebody has put into a file: it is the file's fault, and no other's.
        return reason_of(error), False


def _part_of_one(job: Job, rules: Rules, statistics: Statistics) -> Part:
    form = admit(statistics, rules.subject, rules.share)
    name, url = files.sha256_of(form.encode()), job.entry.url
    rows = [Row(url, site, day, packed(tally.to_arrays())) for (site, day), tally in statistics.places.items()]
    variances = {} if statistics.noise is None else {url: statistics.noise.variance}
    sums = {(job.key, name): _held_apart(statistics, rules.apart[job.key])}
    return Part(sums, {name: form}, {url: name}, variances, rows)


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
