"""Memory is that of a fresh process, and a system that does not tell it is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from multigraft.errors import DeviceError, InputError
from multigraft.runtime.backends import BackendName
from multigraft.runtime.memory import measure_bundle, measure_models, pss_kib
from tests.bundle_builder import build


def test_pss_of_a_process_counts_what_it_holds() -> None:
    # A process of its own: the test runner may give back memory of earlier tests between the two readings.
    script = (
        "from multigraft.runtime.memory import pss_kib; before = pss_kib(); block = b'x' * (64 << 20);"
        "print(pss_kib() - before)"
    )
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(grown.stdout) > 48 << 10


def test_a_system_that_does_not_tell_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="not readable"):
        pss_kib(tmp_path / "gone")
    (tmp_path / "rollup").write_text("Rss: 12 kB\n")
    with pytest.raises(DeviceError, match="no Pss line"):
        pss_kib(tmp_path / "rollup")


def test_a_fresh_process_measures_bundle_and_models(backend: BackendName, tmp_path: Path) -> None:
    built = build(backend=backend)
    path = built.bundle.write(tmp_path / "home.graft")
    models = []
    for task, data in built.separate.items():
        models.append(tmp_path / f"{task}.tflite")
        models[-1].write_bytes(data)
    for used in (measure_bundle(path, backend), measure_models(models, backend)):
        assert 0 < used.imported_kib < used.loaded_kib <= used.peak_kib
        assert used.to_json()["added_kib"] == used.added_kib > 0


def test_what_goes_wrong_in_the_fresh_process_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "bad.tflite").write_text("this is not a model")
    with pytest.raises(InputError, match=r"bad\.tflite is not a \.tflite file"):
        measure_models([tmp_path / "bad.tflite"])
