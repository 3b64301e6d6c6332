"""What the zip of an .npz file holds: members in order without a clock, compressed as asked, unpacked one by one."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft import npz
from multigraft.errors import InputError
from multigraft.npz import FIXED_TIME, NpzFile, npz_bytes, read_npz, stored_npz_bytes

ARRAYS: dict[str, npt.NDArray[Any]] = {
    "b/columns": np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
    "a": np.array(3.25, np.float64),
    "text": np.array(["tap", "longer name"]),
    "empty": np.zeros((0, 7), np.float32),
}


def test_equal_arrays_give_equal_bytes_at_any_time_and_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    once = npz_bytes(ARRAYS)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    rows = ARRAYS | {"b/columns": np.ascontiguousarray(ARRAYS["b/columns"])}
    assert npz_bytes(dict(reversed(rows.items()))) == once
    with zipfile.ZipFile(io.BytesIO(once)) as archive:
        infos = archive.infolist()
    assert [i.filename for i in infos] == ["a.npy", "b/columns.npy", "empty.npy", "text.npy"]
    assert {i.date_time for i in infos} == {FIXED_TIME} and {i.compress_type for i in infos} == {zipfile.ZIP_DEFLATED}


def test_the_level_is_zlibs() -> None:
    array = np.random.default_rng(0).integers(0, 4, 20_000)
    sizes = {level: len(npz_bytes({"a": array}, level)) for level in (0, 1, 6, 9)}
    assert sizes[0] > array.nbytes > sizes[1] > sizes[6] >= sizes[9]
    assert len(npz_bytes({"a": array})) == sizes[6]


def test_objects_are_neither_written_nor_read() -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        npz_bytes({"a": np.array([{}], object)})
    pickled = io.BytesIO()
    np.savez(pickled, a=np.array([{}], object))
    with pytest.raises(ValueError, match="something else than numbers"):
        read_npz(pickled.getvalue())


def test_what_unpacks_to_more_than_the_limit_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert npz.LARGEST == 1 << 30
    arrays = {"a": np.zeros(1 << 20, np.uint8), "b": np.zeros(3 << 20, np.uint8)}
    data = npz_bytes(arrays)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(info.file_size for info in archive.infolist())
    monkeypatch.setattr(npz, "LARGEST", size)
    assert read_npz(data).keys() == arrays.keys()
    monkeypatch.setattr(npz, "LARGEST", size - 1)
    with pytest.raises(ValueError) as caught:
        read_npz(data)
    assert str(caught.value) == "it unpacks to more than 4 MiB"


def test_arrays_are_read_one_by_one_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(npz_bytes(ARRAYS))
    for source in (path, str(path), path.read_bytes()):
        with NpzFile(source) as opened:
            assert list(opened) == sorted(ARRAYS) and len(opened) == 4
            assert opened["a"] == 3.25 and opened["empty"].dtype == np.float32
            with pytest.raises(KeyError):
                opened["none"]
        with pytest.raises(ValueError):
            opened["a"]
    with pytest.raises(InputError, match="does not exist"):
        NpzFile(tmp_path / "none.npz")
    with pytest.raises(InputError):
        NpzFile(tmp_path)


def test_members_that_are_no_arrays_are_refused() -> None:
    def archive(**members: bytes) -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as opened:
            for name, content in members.items():
                opened.writestr(name, content)
        return target.getvalue()

    array = io.BytesIO()
    np.save(array, np.arange(3))
    with NpzFile(archive(**{"a.npy": array.getvalue(), "nothing.npy": b"", "text.npy": b"text"})) as arrays:
        assert list(arrays) == ["a", "nothing", "text"] and "none" not in arrays
        assert arrays.unpacked_bytes == len(array.getvalue()) + 4
        assert arrays["a"].tolist() == [0, 1, 2]
        for name in ("nothing", "text"):
            with pytest.raises(ValueError):
                arrays[name]
    with pytest.raises(ValueError, match=r"note\.txt, which does not belong there"):
        NpzFile(archive(**{"a.npy": array.getvalue(), "note.txt": b"x"}))


def test_golden_arrays_are_stored_as_they_come_and_without_a_clock() -> None:
    data = stored_npz_bytes(ARRAYS)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
    assert [i.filename for i in infos] == [f"{name}.npy" for name in ARRAYS]
    assert {i.compress_type for i in infos} == {zipfile.ZIP_STORED}
    assert {i.date_time for i in infos} == {(1980, 1, 1, 0, 0, 0)}
    back = read_npz(data)
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
    rows = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in ARRAYS.items()}
    assert stored_npz_bytes(rows) == data
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        stored_npz_bytes({"a": np.array([{}], object)})
