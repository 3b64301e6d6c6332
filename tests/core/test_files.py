"""Files are written whole or not at all, and are on the disk before anything relies on them."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multigraft import files
from multigraft.errors import UsageError
from tests.bundle_builder import build


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was synced and what was renamed to what, in order, beside really doing it."""
    noted: list[tuple[str, str]] = []
    sync, replace, rename = os.fsync, Path.replace, Path.rename

    def noting_sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        size = "" if path.is_dir() else f" of {path.stat().st_size} bytes"
        noted.append((f"sync{size}", "folder" if path.is_dir() else "file"))
        sync(descriptor)

    def noting_replace(path: Path, target: Path) -> Path:
        noted.append(("rename", target.name))
        return replace(path, target)

    def noting_rename(path: Path, target: Path) -> Path:
        noted.append(("rename", target.name))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noting_sync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    monkeypatch.setattr(Path, "rename", noting_rename)
    return noted


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    files.write_bytes(tmp_path / "a", b"12345")
    assert calls == [("sync of 5 bytes", "file"), ("rename", "a"), ("sync", "folder")]


def test_a_deployed_folder_is_synced_like_a_file(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    bundle = build().bundle
    bundle.deploy(tmp_path / "home")
    assert calls[-2:] == [("rename", "home"), ("sync", "folder")]
    # Every member by itself, and the manifest.
    assert sum(what == "file" for _, what in calls) == len(bundle.manifest.files) + 1


def test_what_fails_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="half"), files.whole_file(target) as temporary:
        temporary.write_bytes(b"ha")
        raise RuntimeError("half")
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_readers_see_the_old_or_the_new_file_and_no_other_name(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"before")
    with files.whole_file(target) as temporary:
        temporary.write_bytes(b"after")
        assert temporary.parent == tmp_path and temporary.name.startswith(".a.")
        assert target.read_bytes() == b"before"
    assert target.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_file_has_the_permissions_that_the_user_asks_for(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files.write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask
    assert os.umask(before) == before


def test_what_cannot_be_written_is_told_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; name a file"):
        files.write_bytes(tmp_path, b"")
    with pytest.raises(UsageError, match="cannot be written: No such file or directory; choose an existing folder"):
        files.write_bytes(tmp_path / "none" / "a", b"")


def test_a_file_system_that_cannot_sync_folders_is_no_error_and_a_broken_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    real_open = os.open

    def noting_open(path: Path, flags: int) -> int:
        opened.append(real_open(path, flags))
        return opened[-1]

    monkeypatch.setattr(os, "open", noting_open)
    for code, is_refused in ((errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)):

        def failing(_: int, code: int = code) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match=os.strerror(code)) if is_refused else contextlib.nullcontext():
            files.sync_folder(tmp_path)
        with pytest.raises(OSError):
            os.fstat(opened[-1])
    assert len(opened) == 3


def test_a_folder_that_cannot_be_read_is_left_to_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refused)
    files.sync_folder(tmp_path)


def test_only_posix_syncs_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multigraft.files.os.name", "nt")
    files.sync_folder(tmp_path / "none")


def test_a_digest_is_hexadecimal_sha_256() -> None:
    assert files.sha256_of(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_of(bytearray(b"abc")) == files.sha256_of(memoryview(b"abc")) == files.sha256_of(b"abc")


def test_threads_that_write_at_the_same_time_keep_the_mask_of_modes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one of the whole process, and can only be read by setting it."""
    umask = os.umask

    def slow(mask: int) -> int:
        before = umask(mask)
        time.sleep(0.002)
        return before

    before = umask(0o027)
    try:
        with monkeypatch.context() as patch, ThreadPoolExecutor(8) as pool:
            patch.setattr(os, "umask", slow)
            list(pool.map(lambda number: files.write_bytes(tmp_path / str(number), b"x"), range(32)))
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}
        assert umask(0o027) == 0o027
    finally:
        umask(before)
