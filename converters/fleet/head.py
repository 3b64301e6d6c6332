"""What the beginning of a statistics file says of it: enough to choose which files count."""

from __future__ import annotations

import datetime
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multigraft import files
from multigraft.converters import urls
from multigraft.converters.fleet.turns import Turn
from multigraft.converters.urls import Entry
from multigraft.errors import InputError
from multigraft.reading import parse_json
from multigraft.statistics import statistics_file
from multigraft.statistics.release import MOST, Releases, releases_from_json
from multigraft.statistics.statistics import Statistics

LARGEST_FILE = 64 << 20
"""Bytes of a file of one site."""
LARGEST_CONTENT = 256 << 20
"""Bytes that it may unpack to."""
MOST_PLACES = 1000
"""Sites and days that one file may hold."""
LONGEST_SITE = 200
"""Letters of a site's name."""

_START = 48 << 10
"""Bytes of a file that hold its manifest, as a rule: it is written first."""
_LOCAL = struct.Struct("<4s5H3L2H")
_DEFLATED = 8


@dataclass(frozen=True)
class Head:
    """What is known of a file before it is read.

    Attributes:
        digest: Of all its content.
        subject: Digest of what it is about; only files of one subject add up.
        crops: The task whose boxes were cut out; empty for whole frames.
        networks: Their names.
        frames: Frames.
        releases: Of which stores it is which release.
        places: Sites and days.
    """

    digest: str
    subject: str
    crops: str
    networks: tuple[str, ...]
    frames: int
    releases: Releases
    places: tuple[tuple[str, str], ...]


def read_head(entry: Entry) -> Head:
    """Read the beginning of a file; the whole of it where that is no beginning of statistics, to say why.

    Raises:
        InputError: It cannot be read, or is no such file.
    """
    if entry.size > LARGEST_FILE:
        raise InputError(f"it has {entry.size:,} bytes and may have {LARGEST_FILE:,}", "give files of single sites")
    manifest = _manifest_at(urls.read_start(entry, _START))
    if manifest is not None:
        return head_of(manifest)
    with Turn(LARGEST_CONTENT) as turn:
        return read_whole(entry, turn)[0]


def read_whole(entry: Entry, turn: Turn) -> tuple[Head, Statistics]:
    """Read and verify all of a file, in its turn.

    Raises:
        InputError: It cannot be read, or is no such file.
    """
    data = urls.read(entry.url, LARGEST_FILE, entry.size)
    manifest, statistics = statistics_file.with_manifest(data, "it", turn.allowance(len(data)))
    statistics.is_released = True
    head = head_of(manifest)
    if head.frames != statistics.frames:
        raise InputError("its manifest tells another number of frames than its sums", "collect again")
    return head, statistics


def head_of(manifest: Mapping[str, Any]) -> Head:
    """What a manifest says.

    Raises:
        InputError: It is none, or contradicts itself.
    """
    try:
        subject = manifest["subject"]
        frames = manifest["frames"]
        releases = releases_from_json(manifest.get("releases", {}))
        places = tuple((place["site"], place["day"]) for place in manifest["places"])
        crops = subject.get("crops", [])
        networks = tuple(network["name"] for network in subject["networks"])
        head = Head(
            statistics_file.digest_of(manifest), digest_of_subject(subject), crops[-1]["task"] if crops else "",
            networks, frames, releases, places,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError("it is damaged: its manifest lacks something", "copy it again, or collect again") from error
    if type(frames) is not int or not 0 < frames < MOST or not all(isinstance(n, str) for n in (head.crops, *networks)):
        raise InputError("it is damaged: its manifest tells no frames", "copy it again, or collect again")
    if releases and sum(release.frames for release in releases.values()) != frames:
        raise InputError("its releases are of another number of frames", "copy it again, or collect again")
    _check_places(places)
    return head


def _check_places(places: tuple[tuple[Any, Any], ...]) -> None:
    if not places:
        raise InputError("it is of no site and day", "collect again")
    if len(places) > MOST_PLACES:
        raise InputError(f"it holds {len(places):,} places and may hold {MOST_PLACES:,}", "give files of single sites")
    for site, day in places:
        if not (isinstance(site, str) and 0 < len(site) <= LONGEST_SITE):
            raise InputError(f"a site's name has none or more than {LONGEST_SITE} letters", "name it otherwise")
        try:
            is_day = isinstance(day, str) and len(day) == 10 and datetime.date.fromisoformat(day).isoformat() == day
        except ValueError:
            is_day = False
        if not is_day:
            raise InputError("it holds a day that is none", "collect again")


def digest_of_subject(subject: Any) -> str:
    """Of what a manifest says that a file is about."""
    return files.sha256_of(json.dumps(subject, sort_keys=True, separators=(",", ":")).encode())


def _manifest_at(start: bytes) -> dict[str, Any] | None:
    """The manifest, if a file begins with it and it is whole; whatever else is wrong is told by reading all."""
    if len(start) < _LOCAL.size:
        return None
    mark, _, flags, method, _, _, _, packed, size, name, extra = _LOCAL.unpack_from(start)
    begin = _LOCAL.size + name + extra
    if (
        mark != b"PK\3\4" or flags or method != _DEFLATED
        or size > statistics_file.LARGEST_MANIFEST or begin + packed > len(start)
        or start[_LOCAL.size : _LOCAL.size + name] != statistics_file.MANIFEST.encode()
    ):  # fmt: skip
        return None
    try:
        text = zlib.decompressobj(-zlib.MAX_WBITS).decompress(start[begin : begin + packed], size + 1)
        manifest = parse_json(text)
    except (zlib.error, ValueError):
        return None
    schemas = (statistics_file.SCHEMA, statistics_file.CROPS_SCHEMA)
    is_whole = isinstance(manifest, dict) and manifest.get("schema") in schemas
    return manifest if is_whole and manifest.get("digest") == statistics_file.digest_of(manifest) else None
