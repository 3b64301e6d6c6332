"""What a .mgstats file holds, byte for byte where it matters, and how each kind of damage is told."""

from __future__ import annotations

import errno
import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft import files
from multigraft.errors import DeviceError, InputError, MultigraftError, UsageError
from multigraft.npz import npz_bytes, read_npz
from multigraft.statistics import statistics_file
from multigraft.statistics.similarity import SimilaritySums
from multigraft.statistics.statistics import Statistics
from multigraft.statistics.statistics_file import from_bytes, read, to_bytes, write
from multigraft.statistics.tally import Tally
from tests.calibration.samples import FRAMES, SUBJECT, minibatch, released

Members = dict[str, bytes]


def two_places() -> Statistics:
    made = Statistics(SUBJECT, FRAMES)
    for number in range(5):
        made.add(minibatch(number), ("b", "2026-05-02") if number % 2 else ("a", "2026-05-01"))
    return made


WHOLE = two_places()
DATA = to_bytes(WHOLE)


def unpacked(data: bytes) -> tuple[dict[str, Any], Members]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members.pop("manifest.json")), members


def digest_of(manifest: dict[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return files.sha256_of(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())


def packed(manifest: object, members: Members) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def forged(change: Callable[[dict[str, Any], Members], object]) -> bytes:
    """The file after a change, with digests that fit again: what a careful forger would send."""
    manifest, members = unpacked(DATA)
    change(manifest, members)
    if "files" in manifest:
        manifest["files"] = {n: {"sha256": files.sha256_of(m), "size": len(m)} for n, m in members.items()}
    manifest["digest"] = digest_of(manifest)
    return packed(manifest, members)


def sentence(error: type[MultigraftError], call: Any, *arguments: Any) -> str:
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


def test_the_manifest_says_what_the_file_holds() -> None:
    manifest, members = unpacked(DATA)
    assert list(members) == ["overall.npz", "place-0.npz", "place-1.npz", "groups.npz", "slots.npz"]
    assert manifest == {
        "schema": 1,
        "content": "Sums, counts, least and greatest values over at least minimum_frames frames each. No frame, no "
        "thumbnail and no representation of a single frame is in it.",
        "frames": 40,
        "minimum_frames": 8,
        "subject": {
            "model_sha256": "0" * 64,
            "seed": 0,
            "pairs": [],
            "networks": [
                {
                    "name": n,
                    "kind": "classification",
                    "input": f"{n}/image",
                    "outputs": [f"{n}/logits"],
                    "source_sha256": "",
                }
                for n in ("garment", "digit")
            ],
            "taps": [
                {"name": f"{n}/relu{i}", "network": n, "shape": [4, 4, 3], "sampled": 0}
                for n in ("garment", "digit")
                for i in (1, 2)
            ],
        },
        "places": [{"site": "a", "day": "2026-05-01"}, {"site": "b", "day": "2026-05-02"}],
        "slots": 3,
        "files": {
            name: {"sha256": files.sha256_of(content), "size": len(content)} for name, content in members.items()
        },
        "digest": digest_of(manifest),
    }
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        text = archive.read("manifest.json").decode()
    assert text == json.dumps(manifest, indent=1, sort_keys=True) + "\n"


def test_members_hold_the_arrays_by_number_and_name() -> None:
    _, members = unpacked(DATA)
    assert Tally.from_arrays(read_npz(members["place-1.npz"])) == WHOLE.places["b", "2026-05-02"]
    assert Tally.from_arrays(read_npz(members["overall.npz"])) == WHOLE.overall
    arrays = read_npz(members["groups.npz"])
    assert set(arrays) == {f"{i}/{n}" for i in range(8) for n in ("taps", "counts", "unbiased", "biased")}
    third = {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith("3/")}
    assert SimilaritySums.from_arrays(third) == WHOLE.groups[3]


def test_members_are_compressed_once_and_carry_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    assert to_bytes(two_places()) == DATA
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        infos = archive.infolist()
    assert {i.date_time for i in infos} == {(2020, 1, 1, 0, 0, 0)}
    for info in infos:
        is_npz = info.filename.endswith(".npz")
        assert info.compress_type == (zipfile.ZIP_STORED if is_npz else zipfile.ZIP_DEFLATED)


def test_the_level_is_zlibs_and_changes_no_number() -> None:
    sizes = [len(to_bytes(WHOLE, level)) for level in (0, 1, 6, 9)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 2 * sizes[1] and sizes[2] == len(DATA)
    for level in (0, 9):
        assert from_bytes(to_bytes(WHOLE, level), "x") == WHOLE
    assert all(len(unpacked(to_bytes(WHOLE, 0))[1][n]) > len(m) for n, m in unpacked(DATA)[1].items())


def test_everything_comes_back(tmp_path: Path) -> None:
    back = from_bytes(DATA, "x")
    assert back == WHOLE and back.subject == SUBJECT and to_bytes(back) == DATA
    released(two_places(), tmp_path / "a.mgstats")
    path = write(read(tmp_path / "a.mgstats"), str(tmp_path / "b.mgstats"))
    assert path == tmp_path / "b.mgstats" and path.read_bytes() == DATA == to_bytes(read(str(path)))
    assert len(write(read(path), path, 0).read_bytes()) > len(DATA)
    many = Statistics(SUBJECT, 2)
    for number in range(12):
        many.add(minibatch(number), ("a", f"2026-05-{number + 1:02}"))
    assert from_bytes(to_bytes(many), "x") == many


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"hello", "x is not a whole .mgstats file (File is not a zip file); copy it again, or collect again."),
        (DATA[:900], "x is not a whole .mgstats file (File is not a zip file); copy it again, or collect again."),
        (packed([], {}), "x holds no manifest of statistics; give a .mgstats file."),
        (packed({}, {}), "x holds no manifest of statistics; give a .mgstats file."),
        (packed("text", {}), "x holds no manifest of statistics; give a .mgstats file."),
        (
            npz_bytes({"a": np.zeros(3)}),
            "x is not a whole .mgstats file (it holds a.npy, which does not belong there); copy it again, or collect "
            "again.",
        ),
        (
            forged(lambda m, _: m.update(schema=3)),
            "x has schema 3 and this multigraft reads schema 2; use the version that wrote it.",
        ),
        (
            # As statistics of crops are, which these are not.
            forged(lambda m, _: m.update(schema=2)),
            "x is damaged (its schema is one of other statistics); copy it again, or collect again.",
        ),
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes, said: str) -> None:
    assert sentence(InputError, from_bytes, data, "x") == said


def test_a_digest_that_differs_is_damage() -> None:
    said = "x is damaged: a digest differs; copy it again, or collect again."
    manifest, members = unpacked(DATA)
    assert sentence(InputError, from_bytes, packed(manifest | {"frames": 41}, members), "x") == said
    assert sentence(InputError, from_bytes, packed(manifest, {**members, "slots.npz": b""}), "x") == said
    assert sentence(InputError, from_bytes, packed(manifest, {**members, "place-7.npz": b""}), "x") == said
    assert sentence(InputError, from_bytes, packed({"schema": 1}, {}), "x") == said
    assert sentence(InputError, from_bytes, forged(lambda m, _: m.pop("files")), "x") == said
    assert from_bytes(packed(manifest, members), "x") == WHOLE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m, _: m["subject"].pop("taps"), "'subject.taps is missing'"),
        (lambda m, _: m["subject"].update(seed="a"), "subject.seed has to be int, not str"),
        (lambda m, _: m.update(minimum_frames=1), "a minimum of 1 frames; give 2 or more."),
        (lambda m, _: m.pop("minimum_frames"), "'minimum_frames'"),
        (lambda m, _: m.pop("places"), "'places'"),
        (lambda m, _: m["places"].append({"site": "c", "day": "d"}), "'place-2.npz'"),
        (lambda m, _: m["places"][1].pop("site"), "'site'"),
        (lambda m, _: m["places"][1].pop("day"), "'day'"),
        (lambda m, _: m.update(slots=4), "similarity sums lack the array taps; collect them again."),
        (lambda m, _: m.update(slots="3"), "slots has to be int, not str"),
        (lambda _, f: f.pop("overall.npz"), "'overall.npz'"),
        (lambda _, f: f.pop("groups.npz"), "'groups.npz'"),
        (lambda _, f: f.update({"slots.npz": b"text"}), "File is not a zip file"),
        (
            lambda _, f: f.update({"place-0.npz": npz_bytes({})}),
            "the statistics lack their number of frames; collect them again.",
        ),
        (
            lambda _, f: f.update({"groups.npz": f["slots.npz"]}),
            "similarity sums lack the array taps; collect them again.",
        ),
    ],
)
def test_a_forged_file_is_refused_with_the_reason(
    change: Callable[[dict[str, Any], Members], object], reason: str
) -> None:
    said = sentence(InputError, from_bytes, forged(change), "x")
    assert said == f"x is damaged ({reason}); copy it again, or collect again."


def test_what_would_unpack_to_too_much_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 0
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        for info in archive.infolist():
            size += info.file_size
            if info.filename.endswith(".npz"):
                with zipfile.ZipFile(io.BytesIO(archive.read(info))) as arrays:
                    size += sum(array.file_size for array in arrays.infolist())
    monkeypatch.setattr(statistics_file, "LARGEST", size)
    assert from_bytes(DATA, "x") == WHOLE
    monkeypatch.setattr(statistics_file, "LARGEST", size - 1)
    said = sentence(InputError, from_bytes, DATA, "x")
    assert said == "x is damaged (it unpacks to more than 0 MiB); copy it again, or collect again."


def test_a_broken_compressed_stream_is_damage() -> None:
    start = DATA.index(b"manifest.json") + len("manifest.json")
    data = DATA[:start] + b"\xff" * 8 + DATA[start + 8 :]
    said = sentence(InputError, from_bytes, data, "x")
    assert said == "x is not a whole .mgstats file (manifest.json cannot be unpacked); copy it again, or collect again."


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.mgstats"
    assert sentence(InputError, read, missing) == f"{missing} does not exist; check the path."
    reason = os.strerror(errno.EISDIR)
    assert sentence(InputError, read, tmp_path) == f"{tmp_path} cannot be read: {reason}; check the path."
    path = tmp_path / "a.mgstats"
    path.write_bytes(b"hello")
    assert sentence(InputError, read, path).startswith(f"{path} is not a whole .mgstats file (")


def test_a_full_disk_is_told_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, held = tmp_path / "a.mgstats", read(released(WHOLE, tmp_path / "b.mgstats"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_bytes", full)
    said = sentence(DeviceError, write, held, path)
    assert said == f"{path} cannot be written: No space left on device; free some space and run it again."

    def unplugged(*_: object) -> None:
        raise DeviceError("the disk is gone", "plug it in")

    monkeypatch.setattr(files, "write_bytes", unplugged)
    assert sentence(DeviceError, write, held, path) == "the disk is gone; plug it in."
    monkeypatch.undo()
    nowhere = tmp_path / "none" / "a.mgstats"
    assert "choose an existing folder" in sentence(UsageError, write, held, nowhere)
