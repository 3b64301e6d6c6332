"""A deployed bundle's files are read when they are asked for, and are those that were built or an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from multigraft.bundle.bundle import GOLDEN_INPUTS, MODEL, Bundle
from multigraft.errors import BundleError
from tests.bundle_builder import build


def test_what_changed_since_it_was_opened_is_refused(tmp_path: Path) -> None:
    folder = build().bundle.deploy(tmp_path / "home")
    bundle = Bundle.open(folder)
    golden = bundle.read(GOLDEN_INPUTS)
    (folder / MODEL).write_bytes(bundle.model[:-1] + b"!")
    with pytest.raises(BundleError, match="is not what was built"):
        bundle.read(MODEL)
    (folder / MODEL).unlink()
    with pytest.raises(BundleError, match=r"lacks model\.tflite"):
        bundle.read(MODEL)
    assert bundle.read(GOLDEN_INPUTS) == golden
    with pytest.raises(BundleError, match=r"holds no plan\.npz"):
        bundle.read("plan.npz")


def test_a_link_that_is_switched_leads_an_open_bundle_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = build().bundle.deploy(tmp_path / "old"), build(width=9).bundle.deploy(tmp_path / "new")
    link = tmp_path / "current"
    link.symlink_to("old")
    monkeypatch.chdir(tmp_path)
    bundle = Bundle.open("current")
    link.unlink()
    link.symlink_to("new")
    monkeypatch.chdir("/")
    assert bundle.model == Bundle.open(old).model != Bundle.open(new).model
    assert bundle.model_path == old / MODEL


def test_a_deployed_bundle_is_written_as_the_file_that_it_came_from(tmp_path: Path) -> None:
    built = build().bundle
    graft = built.write(tmp_path / "home.graft")
    again = Bundle.open(built.deploy(tmp_path / "home")).write(tmp_path / "again.graft")
    assert again.read_bytes() == graft.read_bytes()
    assert built.model_path is None and Bundle.open(graft).model_path is None
    assert Bundle.from_bytes(graft.read_bytes(), "the bundle").manifest == built.manifest
    with pytest.raises(BundleError, match="the bundle is not a whole"):
        Bundle.from_bytes(graft.read_bytes()[:-1], "the bundle")
