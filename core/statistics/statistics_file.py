"""The file format of Statistics, ``NAME.mgstats``: a zip that any tool opens.

``manifest.json`` holds the schema, the subject, the number of frames, which stores' releases it is made of, what noise
was added, if any, and size and SHA-256 of every other member; ``overall.npz``, ``place-N.npz``, ``groups.npz`` and
``slots.npz`` hold plain NumPy arrays. Members carry no clock, so equal statistics give equal bytes. The file is not
signed: a digest shows damage, not an author. Files of before there were releases are read, too.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multigraft import files
from multigraft.archive import Allowance, Archive
from multigraft.errors import DeviceError, InputError, UsageError
from multigraft.json_decoding import decode
from multigraft.npz import FIXED_TIME, LARGEST, npz_bytes, read_npz
from multigraft.reading import UnreadableError, parse_json, read_file
from multigraft.statistics.contradictions import refuse_contradictions
from multigraft.statistics.noise import noise_from_json, noise_to_json
from multigraft.statistics.release import releases_from_json, releases_to_json
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import GROUPS, Statistics
from multigraft.statistics.subject import Subject
from multigraft.statistics.tally import Tally
from multigraft.tensors.arrays import Array, Arrays

SCHEMA = 1

CROPS_SCHEMA = 2
"""That of statistics of crops; readers of schema 1 would take numbers of crops for numbers of frames."""

MANIFEST = "manifest.json"
CONTENT = (
    "Sums, counts, least and greatest values over at least minimum_frames frames each. No frame, no thumbnail and no "
    "representation of a single frame is in it."
)
"""Stands in every file."""

LARGEST_FILE = 512 << 20
"""Bytes of a file."""
LARGEST_MANIFEST = 8 << 20
"""Bytes of its manifest."""
_MOST_MEMBERS = 1 << 14
_MEMBER = re.compile(r"manifest\.json|(overall|groups|slots|place-[0-9]{1,5})\.npz")
_MOST_PERIODS = 64
"""Each is twice as long as the one before."""
_AGAIN = "copy it again, or collect again"


def to_bytes(statistics: Statistics, level: int = 6) -> bytes:
    """The file's content, whatever the number of frames, compressed at zlib's ``level``."""
    places = sorted(statistics.places)
    members = {"overall.npz": npz_bytes(statistics.overall.to_arrays(), level)}
    for number, place in enumerate(places):
        members[f"place-{number}.npz"] = npz_bytes(statistics.places[place].to_arrays(), level)
    members["groups.npz"] = npz_bytes(_similarity_arrays(statistics.groups), level)
    members["slots.npz"] = npz_bytes(_similarity_arrays(statistics.periods), level)
    manifest = {
        "schema": CROPS_SCHEMA if statistics.subject.crops else SCHEMA,
        "content": CONTENT,
        "frames": statistics.frames,
        "minimum_frames": statistics.minimum_frames,
        "subject": statistics.subject.to_json(),
        "places": [{"site": site, "day": day} for site, day in places],
        "slots": len(statistics.periods),
        "files": {name: {"sha256": files.sha256_of(data), "size": len(data)} for name, data in members.items()},
    }
    if statistics.releases:
        manifest["releases"] = releases_to_json(statistics.releases)
    if statistics.noise is not None:
        manifest["noise"] = noise_to_json(statistics.noise)
    manifest["digest"] = digest_of(manifest)
    text = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
    return _zip({MANIFEST: text, **members})


def from_bytes(data: bytes, where: str) -> Statistics:
    """Read what :func:`to_bytes` gave.

    Args:
        data: The file's content.
        where: What it is called in an error.

    Raises:
        InputError: It is something else, damaged, or its schema is newer.
    """
    return with_manifest(data, where, Allowance(len(data), LARGEST))[1]


def with_manifest(data: bytes, where: str, allowance: Allowance) -> tuple[dict[str, Any], Statistics]:
    """As :func:`from_bytes`, with the manifest as it stands in the file.

    Args:
        data: The file's content.
        where: What it is called in an error.
        allowance: Bytes that it may unpack to.
    """
    members = _unzip(data, where, allowance)
    try:
        manifest = parse_json(members.pop(MANIFEST))
        schema = manifest["schema"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where} holds no manifest of statistics", "give a .mgstats file") from error
    if schema not in (SCHEMA, CROPS_SCHEMA):
        raise InputError(
            f"{where} has schema {schema} and this multigraft reads schema {CROPS_SCHEMA}",
            "use the version that wrote it",
        )
    if manifest.get("digest") != digest_of(manifest) or manifest.get("files") != {
        name: {"sha256": files.sha256_of(member), "size": len(member)} for name, member in members.items()
    }:
        raise InputError(f"{where} is damaged: a digest differs", _AGAIN)
    try:
        subject: Subject = decode(Subject, manifest["subject"], "subject")
        if (schema == CROPS_SCHEMA) != bool(subject.crops):
            raise ValueError("its schema is one of other statistics")
        statistics = Statistics(subject, decode(int, manifest["minimum_frames"], "minimum_frames"))
        statistics.releases = releases_from_json(manifest.get("releases", {}))
        if "noise" in manifest:
            statistics.noise = noise_from_json(manifest["noise"])
        statistics.overall = Tally.from_arrays(read_npz(members["overall.npz"], allowance))
        for number, entry in enumerate(manifest["places"]):
            place = decode(str, entry["site"], "site"), decode(str, entry["day"], "day")
            if place in statistics.places:
                raise ValueError("a place stands twice")
            statistics.places[place] = Tally.from_arrays(read_npz(members[f"place-{number}.npz"], allowance))
        statistics.groups = _similarities(read_npz(members["groups.npz"], allowance), GROUPS)
        periods = decode(int, manifest["slots"], "slots")
        if not 0 <= periods <= _MOST_PERIODS:
            raise ValueError(f"it has {periods} periods")
        statistics.periods = _similarities(read_npz(members["slots.npz"], allowance), periods)
        refuse_contradictions(statistics)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise InputError(f"{where} is damaged ({error})", _AGAIN) from error
    return manifest, statistics


def write(statistics: Statistics, path: str | os.PathLike[str], level: int = 6) -> Path:
    """Write ``statistics`` coalesced, whole or not at all; equal statistics give equal bytes.

    Args:
        statistics: What to write: read from files, or the sum of such. What a collector has added since its last
            release is only written by its store, since two files that differ by few frames show them.
        path: ``NAME.mgstats``.
        level: The level of zlib's compression.

    Raises:
        UsageError: They were not released, as :meth:`Statistics.coalesced`, or the folder cannot be written.
        DeviceError: The disk is full.
    """
    if not statistics.is_released:
        raise UsageError(
            "statistics that no store has released are not written",
            "take the files that collect wrote, and add those up",
        )
    return write_content(to_bytes(statistics.coalesced(), level), path)


def write_content(data: bytes, path: str | os.PathLike[str]) -> Path:
    """Write what :func:`to_bytes` gave, whole or not at all.

    Raises:
        UsageError: The folder cannot be written.
        DeviceError: The disk is full.
    """
    path = Path(path)
    try:
        files.write_bytes(path, data)
    except OSError as error:
        if isinstance(error, DeviceError):
            raise
        raise DeviceError(f"{path} cannot be written: {error.strerror}", "free some space and run it again") from error
    return path


def read(path: str | os.PathLike[str]) -> Statistics:
    """Read a file and verify it.

    Raises:
        InputError: It is not there, not such a file, damaged, or its schema is newer.
    """
    statistics = from_bytes(read_file(path, LARGEST_FILE), str(path))
    statistics.is_released = True
    return statistics


def digest_of(manifest: Mapping[str, Any]) -> str:
    """The digest that a manifest has to carry; with it goes all the content, whose digests it lists."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return files.sha256_of(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())


def _similarity_arrays(sums: Sequence[SimilaritySums]) -> dict[str, Array]:
    return {f"{i}/{name}": array for i, one in enumerate(sums) for name, array in one.to_arrays().items()}


def _similarities(arrays: Arrays, count: int) -> list[SimilaritySums]:
    return [
        SimilaritySums.from_arrays({k.partition("/")[2]: v for k, v in arrays.items() if k.startswith(f"{i}/")})
        for i in range(count)
    ]


def _zip(members: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, FIXED_TIME)
            # Arrays are compressed already, within their .npz.
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".npz") else zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return target.getvalue()


def _unzip(data: bytes, where: str, allowance: Allowance) -> dict[str, bytes]:
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    try:
        with Archive(data, lambda name: _MEMBER.fullmatch(name) is not None, _MOST_MEMBERS, methods) as archive:
            if archive.sizes.get(MANIFEST, 0) > LARGEST_MANIFEST:
                raise UnreadableError("its manifest is too large")
            return {name: archive.read(name, allowance) for name in archive.sizes}
    except UnreadableError as error:
        raise InputError(f"{where} is not a whole .mgstats file ({error})", _AGAIN) from error
