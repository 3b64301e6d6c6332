"""One reader and writer of .npz: no clock in it, damage is one kind of error, nothing in it is run.

A small file cannot unpack to a large one.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multigraft import npz
from multigraft.errors import InputError
from multigraft.npz import NpzFile, npz_bytes, read_npz, stored_npz_bytes

ARRAYS = {"b": np.arange(6, dtype=np.int16).reshape(2, 3), "a/1": np.array(2.5), "c": np.zeros((0, 4), np.uint8)}


def test_arrays_come_back_as_they_were() -> None:
    again = read_npz(npz_bytes(ARRAYS))
    assert again.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)


def test_equal_arrays_give_equal_bytes_whatever_their_order_and_layout() -> None:
    other = {name: np.array(ARRAYS[name], order="F") for name in reversed(ARRAYS)}
    assert npz_bytes(other) == npz_bytes(ARRAYS)


def test_numpy_reads_what_is_written_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(npz_bytes(ARRAYS))
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["b"], ARRAYS["b"])
    np.savez(tmp_path / "b.npz", b=ARRAYS["b"])
    np.testing.assert_array_equal(read_npz((tmp_path / "b.npz").read_bytes())["b"], ARRAYS["b"])
    with NpzFile(tmp_path / "b.npz") as file:
        assert list(file) == ["b"] and len(file) == 1
        np.testing.assert_array_equal(file["b"], ARRAYS["b"])


def test_damage_anywhere_is_a_value_error_or_changes_no_array() -> None:
    data = npz_bytes(ARRAYS)
    refused = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x55
        try:
            again = read_npz(bytes(damaged))
        except ValueError:
            refused += 1
            continue
        for name in again.keys() & ARRAYS.keys():
            np.testing.assert_array_equal(again[name], ARRAYS[name])
    assert refused > len(data) // 2
    for size in range(0, len(data), 7):
        with pytest.raises(ValueError):
            read_npz(data[:size])


def test_objects_and_other_members_are_refused() -> None:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=True, a=np.array([{}], object))
    with pytest.raises(ValueError, match="something else than numbers"):
        read_npz(stream.getvalue())
    nested = io.BytesIO()
    with zipfile.ZipFile(nested, "w") as archive:
        archive.writestr("a.npy", npz_bytes(ARRAYS))
    with pytest.raises(ValueError, match="header is damaged"):
        read_npz(nested.getvalue())


def test_a_small_file_that_unpacks_to_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = npz_bytes({"a": np.zeros(1 << 16, np.uint8)})
    assert len(data) < 1 << 10
    unpacked = (1 << 16) + 128
    monkeypatch.setattr(npz, "LARGEST", unpacked)
    assert read_npz(data)["a"].size == 1 << 16
    monkeypatch.setattr(npz, "LARGEST", unpacked - 1)
    with pytest.raises(ValueError, match="unpacks to more than"):
        read_npz(data)


def test_a_file_that_is_not_there_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        NpzFile(tmp_path / "none.npz")


@pytest.mark.parametrize("write", [npz_bytes, stored_npz_bytes])
def test_what_is_written_is_read_back_and_does_not_depend_on_the_clock(write: Callable[..., bytes]) -> None:
    data = write(ARRAYS)
    with np.load(io.BytesIO(data), allow_pickle=False) as by_numpy:
        assert set(by_numpy.files) == set(ARRAYS)
    for name, value in read_npz(data).items():
        assert (value.dtype, value.shape) == (ARRAYS[name].dtype, ARRAYS[name].shape)
        np.testing.assert_array_equal(value, ARRAYS[name])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {info.date_time[0] for info in archive.infolist()} <= {1980, 2020}
    assert write(ARRAYS) == data


def test_compressed_members_are_in_the_order_of_names_and_stored_ones_as_given() -> None:
    def members(data: bytes) -> list[tuple[str, int]]:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(info.filename, info.compress_type) for info in archive.infolist()]

    deflated, stored = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED
    assert members(npz_bytes(ARRAYS)) == [(f"{n}.npy", deflated) for n in sorted(ARRAYS)]
    assert members(stored_npz_bytes(ARRAYS)) == [(f"{n}.npy", stored) for n in ARRAYS]
