"""A bundle comes back as it was written, or is refused in one sentence; it is written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multigraft import files
from multigraft.bundle.bundle import GOLDEN_INPUTS, MANIFEST, MODEL, MODEL_CARD, Bundle
from multigraft.errors import BundleError, UsageError
from tests.core.bundle.samples import CONTENTS, bundle


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def refused(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    return str(caught.value)


def test_a_file_and_a_folder_read_back_as_the_bundle(tmp_path: Path) -> None:
    made = bundle()
    assert made.path is None
    path = made.write(tmp_path / "home.graft")
    assert made.path == path == tmp_path / "home.graft"
    folder = made.deploy(tmp_path / "deployed")
    assert folder == tmp_path / "deployed"
    for place in (path, folder, str(path)):
        again = Bundle.open(place)
        assert again.manifest == made.manifest and again.path == Path(place)
        assert {name: again.read(name) for name in CONTENTS} == CONTENTS and again.model == CONTENTS[MODEL]
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == {MANIFEST, *CONTENTS}


def test_the_manifest_lists_size_and_digest_of_every_file() -> None:
    entries = bundle().manifest.files
    assert list(entries) == sorted(CONTENTS)
    for name, data in CONTENTS.items():
        assert (entries[name].size, entries[name].sha256) == (len(data), files.sha256_of(data))


def test_equal_bundles_give_equal_bytes_stored_without_a_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bundle().write(tmp_path / "a.graft")
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    second = Bundle.create(bundle().manifest, dict(reversed(CONTENTS.items()))).write(str(tmp_path / "b.graft"))
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        infos = archive.infolist()
    assert [i.filename for i in infos] == [MANIFEST, *sorted(CONTENTS)]
    assert {i.compress_type for i in infos} == {zipfile.ZIP_STORED}
    assert {i.date_time for i in infos} == {(2020, 1, 1, 0, 0, 0)}


def test_the_manifest_is_text_that_people_read_in_order(tmp_path: Path) -> None:
    text = members(bundle().write(tmp_path / "a.graft"))[MANIFEST].decode()
    data = json.loads(text)
    assert text == json.dumps(data, indent=1, sort_keys=True) + "\n"
    rest = {key: value for key, value in data.items() if key != "digest"}
    assert data["digest"] == files.sha256_of(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())


def test_the_constructor_keeps_a_copy() -> None:
    contents = dict(CONTENTS)
    made = Bundle(bundle().manifest, contents)
    del contents[MODEL]
    assert made.model == CONTENTS[MODEL]


def test_a_bundle_without_a_model_says_so(tmp_path: Path) -> None:
    path = Bundle.create(bundle().manifest, {MODEL_CARD: b"# home"}).write(tmp_path / "a.graft")
    with pytest.raises(BundleError, match=r"a\.graft holds no model\.tflite; build the bundle again"):
        assert Bundle.open(path).model


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    made = bundle()
    for where in ("home", str(tmp_path / "a.graft")):
        with pytest.raises(BundleError) as caught:
            made.read("none.bin")
        assert str(caught.value) == f"{where} holds no none.bin; build the bundle again."
        made.write(tmp_path / "a.graft")


Change = Callable[[dict[str, bytes]], object]
CARD_BYTES = len(CONTENTS[MODEL_CARD])


def set_digest(contents: dict[str, bytes], **changes: Any) -> None:
    """Change the manifest and write its digest anew, as a careful forger would."""
    data = json.loads(contents[MANIFEST]) | changes
    data["digest"] = files.sha256_of(
        json.dumps({k: v for k, v in data.items() if k != "digest"}, sort_keys=True, separators=(",", ":")).encode()
    )
    contents[MANIFEST] = json.dumps(data).encode()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda c: c.pop(MANIFEST),
            "{path} holds no manifest.json; point to a .graft file that multigraft build wrote.",
        ),
        (
            lambda c: c.update({MANIFEST: b"{"}),
            "{path}: manifest.json is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 "
            "(char 1)); build the bundle again.",
        ),
        (
            lambda c: c.update({MANIFEST: b"[]"}),
            "{path}: manifest.json is not a multigraft manifest; build the bundle again.",
        ),
        (
            lambda c: c.update({MANIFEST: c[MANIFEST].replace(b'"home"', b'"work"')}),
            "{path}: manifest.json was edited after it was built: its digest differs; build the bundle again.",
        ),
        (lambda c: c.pop(GOLDEN_INPUTS), "{path} lacks golden/inputs.npz; copy it again or build it again."),
        (
            lambda c: c.update({MODEL_CARD: b"# lake\n"}),
            f"{{path}}: MODEL_CARD.md is not what was built: {CARD_BYTES} bytes with another SHA-256 digest; "
            "copy the bundle again or build it again.",
        ),
        (
            lambda c: c.update({MODEL_CARD: b"#"}),
            "{path}: MODEL_CARD.md is not what was built: 1 bytes with another SHA-256 digest; "
            "copy the bundle again or build it again.",
        ),
        (
            lambda c: c.update({"z.bin": b"", "extra.bin": b""}),
            "{path} holds extra.bin, which its manifest does not name; build the bundle again.",
        ),
    ],
)
def test_a_bundle_that_was_changed_is_refused(change: Change, sentence: str, tmp_path: Path) -> None:
    contents = members(bundle().write(tmp_path / "a.graft"))
    change(contents)
    path = rewrite(tmp_path / "changed.graft", contents)
    assert refused(path) == sentence.format(path=path)
    folder = tmp_path / "folder"
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    assert refused(folder) == sentence.format(path=folder)


@pytest.mark.parametrize("wrong", [{"size": CARD_BYTES + 1}, {"sha256": "0" * 64}])
def test_size_and_digest_both_have_to_be_right(wrong: dict[str, Any], tmp_path: Path) -> None:
    contents = members(bundle().write(tmp_path / "a.graft"))
    entries = json.loads(contents[MANIFEST])["files"]
    entries[MODEL_CARD] |= wrong
    set_digest(contents, files=entries)
    assert "MODEL_CARD.md is not what was built" in refused(rewrite(tmp_path / "b.graft", contents))


def test_files_that_are_no_bundle_are_refused(tmp_path: Path) -> None:
    missing, text, inside = tmp_path / "none.graft", tmp_path / "text.graft", tmp_path / "text.graft" / "a.graft"
    text.write_bytes(b"hello")
    assert refused(missing) == f"{missing} does not exist; check the path."
    assert refused(text) == (
        f"{text} is not a whole .graft file (File is not a zip file); copy it again or build it again."
    )
    reason = os.strerror(errno.ENOTDIR)
    assert refused(inside) == f"{inside} cannot be read: {reason}; check the path and its permissions."


def test_a_bundle_cut_anywhere_or_with_something_before_it_is_refused(tmp_path: Path) -> None:
    whole = bundle().write(tmp_path / "a.graft").read_bytes()
    path = tmp_path / "cut.graft"
    for length in range(0, len(whole), 17):
        path.write_bytes(whole[:length])
        assert "is not a whole .graft file" in refused(path)
    path.write_bytes(b"before" + whole)
    assert refused(path) == f"{path} is not a whole .graft file (its end is missing); copy it again or build it again."
    with zipfile.ZipFile(path, "w"):
        pass
    assert refused(path) == f"{path} holds no manifest.json; point to a .graft file that multigraft build wrote."


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(target: Path, data: bytes) -> None:
        assert [p.name for p in tmp_path.iterdir()] != ["deployed"]
        if target.name == MODEL:
            raise OSError(errno.ENOSPC, "full")
        target.write_bytes(data)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_bytes", full)
        with pytest.raises(OSError, match="full"):
            bundle().deploy(tmp_path / "deployed")
    assert list(tmp_path.iterdir()) == []
    before = os.umask(0o077)
    try:
        folder = bundle().deploy(tmp_path / "deployed")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert [p.name for p in tmp_path.iterdir()] == ["deployed"]


def test_a_folder_is_made_beside_its_place_under_a_hidden_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    monkeypatch.setattr(files, "write_bytes", lambda target, data: seen.add(target.relative_to(tmp_path).parts[0]))
    bundle().deploy(str(tmp_path / "deployed"))
    (name,) = seen
    assert name.startswith(".deployed.")


@pytest.mark.parametrize("name", ["a/b/c.bin", "../evil", "/evil", "golden/../../evil"])
def test_files_that_are_no_part_of_a_bundle_are_not_deployed(name: str, tmp_path: Path) -> None:
    odd = Bundle.create(bundle().manifest, {**CONTENTS, name: b"deep"})
    with pytest.raises(BundleError, match=f"holds {name}, which is no part of a bundle"):
        odd.deploy(tmp_path / "deployed")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    reason = os.strerror(errno.ENOENT)
    for folder, sentence in (
        (tmp_path / "there", f"{tmp_path / 'there'} exists already; name a new folder."),
        (tmp_path / "a" / "b", f"{tmp_path / 'a' / 'b'} cannot be made: {reason}; choose another folder."),
    ):
        with pytest.raises(UsageError) as caught:
            bundle().deploy(folder)
        assert str(caught.value) == sentence
    assert [p.name for p in tmp_path.iterdir()] == ["there"] and not list((tmp_path / "there").iterdir())
