"""A file is there whole or not at all, and its name is never that of a temporary one."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from multigraft.errors import UsageError
from multigraft.files import sha256_of, whole_file, write_bytes


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old and longer")
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")
    with pytest.raises(RuntimeError), whole_file(target) as temporary:
        temporary.write_bytes(b"half")
        assert temporary.parent == tmp_path and temporary.name.startswith(".a.bin.")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_gets_the_rights_that_the_user_gives_to_files(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "a.bin", b"x")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == mode


def test_what_cannot_be_written_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for target, sentence in (
        (tmp_path / "folder", f"{tmp_path / 'folder'} is a folder; name a file."),
        (
            tmp_path / "none" / "a.bin",
            f"{tmp_path / 'none' / 'a.bin'} cannot be written: No such file or directory; "
            "choose an existing folder you may write.",
        ),
    ):
        with pytest.raises(UsageError) as caught:
            write_bytes(target, b"x")
        assert str(caught.value) == sentence
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_digest_is_hexadecimal_sha_256() -> None:
    assert sha256_of(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(bytearray(b"abc")) == sha256_of(memoryview(b"abc")) == hashlib.sha256(b"abc").hexdigest()
