"""Arrays as .npz: equal arrays give equal bytes, numpy reads them, and what is too large or no array is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from multigraft import npz
from multigraft.npz import npz_bytes, read_npz, stored_npz_bytes

ARRAYS = {
    "second": np.arange(6, dtype=np.int8).reshape(2, 3).T,
    "first": np.zeros((1, 40), np.float32),
    "text": np.array("of no dimension"),
}


@pytest.mark.parametrize("write", [npz_bytes, stored_npz_bytes])
def test_what_is_written_is_read_back_and_does_not_depend_on_the_clock(write: Callable[..., bytes]) -> None:
    data = write(ARRAYS)
    with np.load(io.BytesIO(data), allow_pickle=False) as by_numpy:
        assert set(by_numpy.files) == set(ARRAYS)
    for name, value in read_npz(data).items():
        assert value.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(value, ARRAYS[name])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {info.date_time[0] for info in archive.infolist()} <= {1980, 2020}
    assert write(ARRAYS) == data


def test_compressed_members_are_in_the_order_of_names_and_stored_ones_as_given() -> None:
    def members(data: bytes) -> list[tuple[str, int]]:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(info.filename, info.compress_type) for info in archive.infolist()]

    deflated, stored = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED
    assert members(npz_bytes(ARRAYS)) == [(f"{n}.npy", deflated) for n in ("first", "second", "text")]
    assert members(stored_npz_bytes(ARRAYS)) == [(f"{n}.npy", stored) for n in ("second", "first", "text")]


def test_more_than_memory_should_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = npz_bytes({"x": np.zeros(1000, np.uint8)})
    monkeypatch.setattr(npz, "LARGEST", 999)
    with pytest.raises(ValueError, match="MiB of arrays"):
        read_npz(data)
