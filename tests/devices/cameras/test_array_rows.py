"""Rows come from NumPy files in their order, and what is none is refused by file and row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.devices.cameras.array_rows import ArrayRows
from multigraft.devices.cameras.sources import open_source
from multigraft.errors import InputError, UsageError
from multigraft.tensors.arrays import Array

ROWS = np.random.default_rng(3).normal(size=(5, 3, 8))


def read(source: object, shape: tuple[int, ...] = (3, 8)) -> list[Array]:
    with open_source(str(source), shape) as camera:
        return list(camera)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8", ">f4"])
def test_a_file_holds_one_row_a_frame_of_any_type(tmp_path: Path, dtype: str) -> None:
    rows = (ROWS * 40).astype(np.int8 if dtype == "uint8" else dtype).astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    np.testing.assert_array_equal(read(tmp_path / "rows.npy"), rows)
    np.testing.assert_array_equal(read(tmp_path / "rows.npy", (3, 1, 8)), rows.reshape(5, 3, 1, 8))


def test_uint8_rows_are_not_taken_for_a_picture(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.arange(120, dtype=np.uint8).reshape(10, 4, 3))
    assert len(read(tmp_path / "rows.npy", (4, 3))) == 10
    np.save(tmp_path / "flat.npy", np.arange(120, dtype=np.uint8).reshape(10, 12))
    assert len(read(tmp_path / "flat.npy", (12,))) == 10


def test_a_folder_gives_its_files_in_order_each_one_row_or_many(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", ROWS[:2])
    np.save(tmp_path / "a.npy", ROWS[4])
    (tmp_path / "._a.npy").write_bytes(b"a Mac's attributes")
    (tmp_path / "notes.txt").write_text("no rows")
    np.testing.assert_array_equal(read(tmp_path), [ROWS[4], ROWS[0], ROWS[1]])
    with open_source(str(tmp_path), (3, 8)) as camera:
        assert len(camera) == 3  # type: ignore[arg-type]
        assert len(list(camera)) == len(list(camera)) == 3, "each reading begins at the first"


def test_of_several_arrays_the_fitting_one_is_taken_or_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", rows=ROWS, labels=np.arange(5))
    np.testing.assert_array_equal(read(tmp_path / "one.npz"), ROWS)
    np.savez(tmp_path / "two.npz", left=ROWS, right=ROWS + 1)
    np.testing.assert_array_equal(read(f"{tmp_path / 'two.npz'}:right"), ROWS + 1)
    with pytest.raises(UsageError, match="left, right"):
        read(tmp_path / "two.npz")
    with pytest.raises(UsageError, match="holds no array 'middle'"):
        read(f"{tmp_path / 'two.npz'}:middle")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_named_by_file_and_row(tmp_path: Path, bad: float) -> None:
    rows = ROWS.copy()
    rows[3, 1, 2] = bad
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(InputError) as caught:
        read(tmp_path / "rows.npy")
    assert str(caught.value) == f"{tmp_path / 'rows.npy'}: row 3 holds NaN or infinity; remove or repair it."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ROWS[:, :2], "shape (5, 2, 8), and its tasks take rows of 3 x 8"),
        (ROWS[:0], "holds no rows"),
        (ROWS.astype(complex), "complex128"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, content: Array, words: str) -> None:
    np.save(tmp_path / "rows.npy", content)
    with pytest.raises(InputError) as caught:
        read(tmp_path / "rows.npy")
    assert words in str(caught.value)


def test_sources_of_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    for source in ("camera", "serial:/dev/ttyACM0"):
        with pytest.raises(UsageError, match="gives pictures"):
            read(source)
    with pytest.raises(InputError, match="no rows of numbers"):
        read(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"no \.npy files"):
        read(tmp_path)
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00 no header")
    with pytest.raises(InputError, match="not a readable NumPy file"):
        read(tmp_path / "bad.npy")


def test_fake_rows_depend_on_nothing_but_their_settings() -> None:
    rows = read("fake:seed=2,frames=4")
    assert [r.shape for r in rows] == [(3, 8)] * 4 and not np.array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows, read("fake:seed=2,frames=4"))
    assert not np.array_equal(rows, read("fake:seed=3,frames=4"))


@pytest.mark.parametrize("rows", [10**30, 1 << 63, 1 << 47])
def test_more_rows_than_any_disk_holds_are_damage(rows: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 4)}}".encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InputError, match="more rows than any disk holds"):
        ArrayRows(path, (4,))
