"""A fleet's files made in code: sites that are alike, sites with another camera, and files broken in ten ways."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from multigraft.files import sha256_of
from multigraft.npz import npz_bytes
from multigraft.statistics import statistics_file
from multigraft.statistics.exact_sums import ExactSums
from multigraft.statistics.release import Release
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.tally import Tally, Terms
from multigraft.tensors.arrays import Array
from tests.calibration.samples import FRAMES, SUBJECT, statistics

MINIBATCHES = 12
DAY = "2026-11-05"
OTHER_CAMERA = 8.0
"""Standard deviations of sites by which the features of another camera are moved."""


@functools.cache
def _body(number: int) -> Statistics:
    return statistics(number, MINIBATCHES)


def site(number: int, day: str = DAY, moved: float = 0.0, release: int = 1, name: str | None = None) -> Statistics:
    """What a device released: sums of its own over a few bodies that many share, and features of its own.

    Args:
        number: Of the site; equal numbers give equal statistics.
        day: Day.
        moved: How far its features lie from the others', in standard deviations of sites.
        release: Number of the release of its store.
        name: Of the site; None for one after its number.
    """
    random = np.random.default_rng([number, release])
    body = _body(number % 40)
    made = Statistics(SUBJECT, FRAMES)
    made.overall = body.overall.merge(Tally())
    for tap in SUBJECT.taps:
        sums = ExactSums((3,))
        sums.add(random.standard_normal(3))
        made.overall.sums[f"channel/{tap.name}"] = made.overall.sums[f"channel/{tap.name}"].merge(sums)
    made.groups, made.periods = body.groups, body.periods
    ((_, pattern),) = body.places.items()
    place = Tally()
    place.counts = {what: np.roll(counts, int(random.integers(3))) for what, counts in pattern.counts.items()}
    place.frames = pattern.frames
    offsets = {"image": 2, "garment": 4, "digit": 4}
    effect = {group: random.standard_normal(width) + moved for group, width in offsets.items()}
    for _ in range(MINIBATCHES):
        terms = Terms()
        for group, width in offsets.items():
            mean = effect[group] + random.standard_normal(width)
            terms.sums[f"drift/{group}"], terms.sums[f"drift2/{group}"] = mean, np.outer(mean, mean)
        place.add(terms)
    made.places = {(name or f"site-{number:05}", day): place}
    made.releases = {f"{number:016x}": Release(release, made.frames)}
    return made


def content(number: int, **options: Any) -> bytes:
    """The file of :func:`site`."""
    return statistics_file.to_bytes(site(number, **options), 1)


def repacked(data: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """A file with other members, and digests that fit them: what somebody makes on purpose."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    manifest = json.loads(members.pop("manifest.json"))
    manifest["files"] = {name: {"sha256": sha256_of(part), "size": len(part)} for name, part in members.items()}
    manifest.pop("digest")
    manifest["digest"] = statistics_file.digest_of(manifest)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in {"manifest.json": json.dumps(manifest).encode(), **members}.items():
            archive.writestr(name, part)
    return target.getvalue()


def with_arrays(
    data: bytes,
    change: Callable[[dict[str, Array]], None],
    member: str = "place-0.npz",
) -> bytes:
    """A file with other arrays in a member."""

    def changed(members: dict[str, bytes]) -> None:
        with np.load(io.BytesIO(members[member])) as arrays:
            held = dict(arrays)
        change(held)
        members[member] = npz_bytes(held)

    return repacked(data, changed)


def with_manifest(data: bytes, **fields: object) -> bytes:
    """A file with other fields in its manifest."""

    def changed(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | fields).encode()

    return repacked(data, changed)


def _bomb(data: bytes) -> bytes:
    def changed(members: dict[str, bytes]) -> None:
        members["slots.npz"] = bytes(400 << 20)

    return repacked(data, changed)


def _other_networks(number: int) -> bytes:
    made = site(number)
    made.subject = dataclasses.replace(made.subject, model_sha256="f" * 64)
    return statistics_file.to_bytes(made, 1)


def _negative(arrays: dict[str, Array]) -> None:
    arrays["count/brightness"] = -arrays["count/brightness"]


def _huge(arrays: dict[str, Array]) -> None:
    arrays["sum/drift/image"][0] = np.int64(1) << 59


def _odd_lengths(arrays: dict[str, Array]) -> None:
    arrays["count/brightness"] = arrays["count/brightness"][:32]


def _flipped(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


BROKEN: dict[str, Callable[[int], bytes]] = {
    "empty": lambda number: b"",
    "cut": lambda number: content(number)[:-1000],
    "a bit flipped": lambda number: _flipped(content(number)),
    "not a zip": lambda number: np.random.default_rng(number).bytes(5000),
    "a newer schema": lambda number: with_manifest(content(number), schema=9),
    "negative counts": lambda number: with_arrays(content(number), _negative),
    "huge sums": lambda number: with_arrays(content(number), _huge),
    "other lengths": lambda number: with_arrays(content(number), _odd_lengths),
    "other networks": _other_networks,
    "a day that is none": lambda number: with_manifest(
        content(number), places=[{"site": f"site-{number:05}", "day": "../../x"}]
    ),
}
"""Ten ways, each by the number of a site."""

BOMB: Callable[[int], bytes] = lambda number: _bomb(content(number))  # noqa: E731
"""A file that unpacks to 400 MiB."""
