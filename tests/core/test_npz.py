"""Arrays as .npz: equal ones give equal bytes, all come back as they were, and what is no array is refused."""

from __future__ import annotations

import io
import time
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft import npz
from multigraft.npz import FIXED_TIME, npz_bytes, read_npz

ARRAYS: dict[str, npt.NDArray[Any]] = {
    "b/columns": np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
    "a": np.float64(3.25)[...],
    "text": np.array(["tap", "longer name"]),
    "empty": np.zeros((0, 7), np.float32),
}


def test_arrays_come_back_with_shape_and_type() -> None:
    back = read_npz(npz_bytes(ARRAYS))
    assert back.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype and back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)


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


def test_numpy_reads_it() -> None:
    with np.load(io.BytesIO(npz_bytes(ARRAYS)), allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["a"], 3.25)


def test_objects_are_neither_written_nor_read() -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        npz_bytes({"a": np.array([{}], object)})
    pickled = io.BytesIO()
    np.savez(pickled, a=np.array([{}], object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
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
    assert str(caught.value) == "more than 4 MiB of arrays"


def test_a_damaged_file_is_no_zip() -> None:
    with pytest.raises(zipfile.BadZipFile):
        read_npz(npz_bytes(ARRAYS)[:-30])
