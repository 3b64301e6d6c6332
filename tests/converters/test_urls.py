"""Addresses: what is one, what it names, and what is said where a place fails."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multigraft.converters import urls
from multigraft.converters.field.collected import Collected
from multigraft.converters.remote_files import RemoteFiles
from multigraft.errors import InputError, MissingDependencyError
from tests.converters.fleet.fleet_files import content


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "FIRST_WAIT_S", 0.0)


def test_what_is_an_address_and_what_may_be_several(tmp_path: Path) -> None:
    assert all(map(urls.is_url, ("s3://a/b", "gs://a", "file:///a", "simplecache::s3://a/b")))
    assert not any(map(urls.is_url, ("a.mgstats", "/a/b", "C:\\a", "a:b")))
    assert not urls.is_url(Path("s3:/a"))
    assert urls.is_several("a/*.mgstats") and urls.is_several(str(tmp_path)) and not urls.is_several("a.mgstats")


def test_files_are_found_read_and_written(tmp_path: Path) -> None:
    for name in ("memory://fleet/a/1.mgstats", "memory://fleet/2.mgstats", "memory://fleet/2.txt"):
        urls.write(name, name.encode())
    found = [entry.url for entry in urls.find("memory://fleet", ".mgstats")]
    assert found == ["memory:///fleet/2.mgstats", "memory:///fleet/a/1.mgstats"]
    assert [e.url for e in urls.find("memory://fleet/*.txt", ".mgstats")] == ["memory:///fleet/2.txt"]
    (one,) = urls.find("memory://fleet/2.mgstats", ".mgstats")
    assert urls.read(one.url, 100) == b"memory://fleet/2.mgstats" and urls.read_start(one, 6) == b"memory"
    with pytest.raises(InputError, match="may have 5"):
        urls.read(one.url, 5)
    with pytest.raises(InputError, match="has 6 bytes and may have 5"):
        urls.read(one.url, 5, size=3)
    urls.write(tmp_path / "x", b"here")
    (here,) = urls.find(str(tmp_path), "x")
    assert (here.url, here.size, urls.read_start(here, 2)) == (str(tmp_path / "x"), 4, b"he")


def test_a_version_changes_with_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.mgstats"
    path.write_bytes(b"1")
    (before,) = urls.find(str(path), ".mgstats")
    path.write_bytes(b"22")
    (after,) = urls.find(str(path), ".mgstats")
    assert before.version != after.version


def test_a_version_changes_with_the_content_where_a_store_gives_no_etag_and_no_known_time() -> None:
    urls.write("memory://changing/1.mgstats", b"one")
    (first,) = urls.find("memory://changing", ".mgstats")
    assert first.version == next(urls.find("memory://changing", ".mgstats")).version
    urls.write("memory://changing/1.mgstats", b"two")
    (second,) = urls.find("memory://changing", ".mgstats")
    assert first.size == second.size and first.version != second.version


def test_what_is_here_takes_no_fsspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    (tmp_path / "deep" / ".hidden").mkdir(parents=True)
    for name in ("1.mgstats", "deep/2.mgstats", "deep/.hidden/3.mgstats", "deep/4.txt", "[5].mgstats"):
        urls.write(tmp_path / name, name.encode())
    (tmp_path / "6.mgstats").symlink_to("1.mgstats")
    os.mkfifo(tmp_path / "7.mgstats")

    def found(text: str) -> list[str]:
        return [os.path.relpath(entry.url, tmp_path) for entry in urls.find(text, ".mgstats")]

    every = ["1.mgstats", "6.mgstats", "[5].mgstats", "deep/.hidden/3.mgstats", "deep/2.mgstats"]
    assert found(str(tmp_path)) == found(f"{tmp_path}/") == found(f"{tmp_path}/**/*.mgstats") == every
    assert found(f"{tmp_path}/deep/*.txt") == ["deep/4.txt"] and found(f"{tmp_path}/[5].mgstats") == ["[5].mgstats"]
    monkeypatch.chdir(tmp_path)
    assert found("deep") == every[3:] and urls.address("deep/") == str(tmp_path / "deep")
    with pytest.raises(MissingDependencyError, match=r"s3://fleet/\* takes fsspec"):
        list(urls.find("s3://fleet/*", ".mgstats"))


def test_links_to_folders_are_followed_once_and_what_cannot_be_looked_into_is_named(tmp_path: Path) -> None:
    top, disk = tmp_path / "in", tmp_path / "disk"
    for name in ("in/1.mgstats", "in/deep/2.mgstats", "disk/3.mgstats", "disk/more/4.mgstats"):
        urls.write(_in_folder(tmp_path / name), b"x")
    (top / "a link").symlink_to(disk)
    (top / "again").symlink_to(disk / "more")
    (top / "deep" / "up").symlink_to(top)
    (disk / "more" / "round").symlink_to(top / "a link")
    (top / "here too").symlink_to("deep")
    (top / "gone").symlink_to("no disk")
    (top / "self").symlink_to("self")
    every = {"1.mgstats", "deep/2.mgstats", "a link/3.mgstats", "a link/more/4.mgstats"}
    problems = {"gone": "it is a link that leads nowhere"}
    for text in (str(top), f"{top}/**/*.mgstats", top.as_uri()):
        found = list(urls.find(text, ".mgstats"))
        assert {os.path.relpath(one.url, top) for one in found if not one.problem} == every
        said = {os.path.relpath(one.url, top): one.problem for one in found if one.problem}
        assert "too many levels" in said.pop("self").lower() and said == problems


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as shared, _as_nobody(Path(shared)) as folder:
        for name in ("1.mgstats", "shut/2.mgstats", "open/3.mgstats", "listed only/4.mgstats"):
            _in_folder(folder / name).write_bytes(b"x")
        (folder / "shut").chmod(0)
        (folder / "listed only").chmod(0o400)
        for text in (str(folder), f"{folder}/**", f"{folder}/*/*"):
            found = {entry.url.removeprefix(f"{folder}/"): entry.problem for entry in urls.find(text, ".mgstats")}
            found.pop("1.mgstats", None)
            assert found.pop("shut/").startswith("the folder cannot be listed: Permission")
            assert found.pop("listed only/4.mgstats").startswith("it cannot be looked at: Permission")
            assert found == {"open/3.mgstats": ""}
        for shut in ("shut", "listed only"):
            (folder / shut).chmod(0o700)


def test_what_a_walk_of_fsspec_cannot_list_is_named_there_too(tmp_path: Path) -> None:
    system = pytest.importorskip("fsspec").filesystem("file")
    with tempfile.TemporaryDirectory() as shared, _as_nobody(Path(shared)) as folder:
        for name in ("1.mgstats", "shut/2.mgstats", "open/3.mgstats"):
            _in_folder(folder / name).write_bytes(b"x")
        (folder / "4.mgstats").symlink_to("open/3.mgstats")
        (folder / "gone.mgstats").symlink_to("nowhere")
        (folder / "shut").chmod(0)
        everything = {
            f"{folder}/gone.mgstats": "it is a link that leads nowhere",
            f"{folder}/shut/": "the folder cannot be listed: Permission denied",
        }
        for text, is_pattern in ((str(folder), False), (f"{folder}/**/*.mgstats", True)):
            there = RemoteFiles(system, text, is_pattern, urls.patiently)
            whole = {name for name, info in there.found.items() if info["type"] == "file"} - there.problems.keys()
            assert whole == {f"{folder}/{name}" for name in ("1.mgstats", "4.mgstats", "open/3.mgstats")}
            assert there.problems == everything
        shut = RemoteFiles(system, f"{folder}/shut", False, urls.patiently)
        assert not shut.found and list(shut.problems) == [f"{folder}/shut/"]
        assert "ls" not in vars(system)
        (folder / "shut").chmod(0o700)


def _in_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def _as_nobody(shared: Path) -> Iterator[Path]:
    """A folder of a user who is not root: nothing is shut for root."""
    folder = shared / "in"
    folder.mkdir()
    if os.geteuid():
        yield folder
        return
    nobody = 65534
    shared.chmod(0o755)
    os.chown(folder, nobody, nobody)
    os.seteuid(nobody)
    try:
        yield folder
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["a**b.mgstats", "9" * 400, "~no-such-user/*"])
def test_a_path_that_cannot_be_listed_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    for text in (str(tmp_path / name), name):
        urls.is_several(text)
        with pytest.raises(InputError, match=r"cannot be listed|names no file"):
            list(urls.find(text, ".mgstats"))


def test_a_read_that_fails_is_tried_again_and_one_that_cannot_succeed_is_not() -> None:
    tries: list[int] = []

    def flaky() -> str:
        tries.append(1)
        if len(tries) < urls.TRIES:
            raise OSError("reset by peer")
        return "read"

    assert urls.patiently(flaky) == "read" and len(tries) == urls.TRIES
    tries.clear()

    def gone() -> None:
        tries.append(1)
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError):
        urls.patiently(gone)
    assert len(tries) == 1


def test_what_cannot_be_reached_is_said_in_a_sentence() -> None:
    with pytest.raises(InputError, match="it is not there"):
        urls.read("memory://nothing/here", 10)
    with pytest.raises(InputError, match="names no file"):
        list(urls.find("memory://nowhere/*.mgstats", ".mgstats"))
    with pytest.raises(InputError, match="is no address"):
        urls.read("nosuch://a/b", 10)
    with pytest.raises(InputError, match="cannot be reached"):
        urls.read("hdfs://127.0.0.1:1/a", 10)


def test_the_package_for_a_protocol_is_named_with_the_command_that_brings_it() -> None:
    with pytest.raises(MissingDependencyError, match=r"gs://bucket/a takes a package.*pip install gcsfs"):
        urls.read("gs://bucket/a", 10)


def test_a_build_takes_statistics_from_an_address() -> None:
    data = content(1)
    urls.write("memory://sums/fleet.mgstats", data)
    (given,) = Collected.open(["memory://sums/fleet.mgstats"]).files
    assert given.name == "fleet.mgstats" and given.statistics.frames == 96


@pytest.fixture
def host() -> Iterator[str]:
    """A file system as fsspec's for SFTP: who and where stand in its addresses, not in its paths."""
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem
    from fsspec.utils import infer_storage_options

    class HostFileSystem(MemoryFileSystem):  # type: ignore[misc]
        protocol = "host"
        cachable = True

        def __init__(self, host: str, username: str = "", password: str = "", **more: Any) -> None:
            super().__init__(**more)
            if (host, username, password) != ("box", "me", "se:cret"):
                raise PermissionError(f"host://{username}:{password}@{host} is not let in")

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(infer_storage_options(path)["path"]).rstrip("/")

        @staticmethod
        def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
            return {k: v for k, v in infer_storage_options(path).items() if k in ("host", "username", "password")}

    fsspec.register_implementation("host", HostFileSystem, clobber=True)
    yield "host://me:se:cret@box"


def test_what_is_found_on_a_host_is_read_there(host: str) -> None:
    urls.write(f"{host}/held/1.mgstats", b"one")
    for name in ("/held/*.mgstats", "/held", "/held/", "/held/1.mgstats"):
        (one,) = urls.find(host + name, ".mgstats")
        assert one.url == f"{host}/held/1.mgstats" == urls.address(one.url)
        assert urls.read_start(one, 2) == b"on" and urls.read(one.url, 9) == b"one"
    pytest.importorskip("fsspec").filesystem("memory").pipe_file("/held/a::b.mgstats", b"odd")
    odd = {entry.url: entry.problem for entry in urls.find(f"{host}/held", ".mgstats")}
    assert odd[f"{host}/held/1.mgstats"] == "" and "name it otherwise" in odd[f"{host}/held/a::b.mgstats"]
    (kept,) = urls.find("simplecache::memory://held/1.mgstats", ".mgstats")
    assert kept.url.startswith("simplecache::memory://")


def test_no_message_tells_a_password(host: str) -> None:
    for name in (f"{host}/nothing/*.mgstats", f"{host}x/nothing"):
        with pytest.raises(InputError, match=r"host://me:\*\*\*@box") as caught:
            list(urls.find(name, ".mgstats"))
        assert "cret" not in str(caught.value)
    assert urls.masked("a s3://b/c@d, sftp://u@h/x, ftp://u:p@w@h/x") == "a s3://b/c@d, sftp://u@h/x, ftp://u:***@h/x"
