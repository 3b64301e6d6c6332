"""Files of unusual form, two by two through ``multigraft build`` with the real converter."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from multigraft.cli.main import main
from tests.converters.importing import unusual_forms as forms
from tests.core.cli.test_forms_built import HEAD, TASK

Form = Callable[[int], onnx.ModelProto]


def pairs() -> list[tuple[Form, Form]]:
    return list(itertools.zip_longest(forms.FORMS[::2], forms.FORMS[1::2], fillvalue=forms.plain))


@pytest.mark.parametrize(("first", "second"), pairs())
def test_a_build_goes_through(
    first: Form, second: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    coarse = np.random.default_rng(0).integers(0, 256, (256, 4, 4, 3), dtype=np.uint8)
    np.save("frames.npy", coarse.repeat(4, axis=1).repeat(4, axis=2))
    tasks = ""
    for name, make, seed in (("first", first, 1), ("second", second, 2)):
        onnx.save(make(seed), f"{name}.onnx")
        assert main(["check", f"{name}.onnx"]) == 0
        tasks += TASK.format(name=name, scale=0.00392)
    Path("multigraft.toml").write_text(f"{HEAD}{tasks}", "utf-8")
    capsys.readouterr()
    assert main(["build", "multigraft.toml", "-o", "forms.graft", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [task["name"] for task in summary["tasks"]] == ["first", "second"]
    assert summary["segments"]["mismatches"] == 0
    assert all(task["int8_agreement"]["value"] > 0.8 for task in summary["tasks"])


def test_weights_behind_links_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("blobs").mkdir()
    onnx.save(forms.plain(1), "first.onnx", save_as_external_data=True, location="first.data", size_threshold=0)
    Path("first.data").rename("blobs/1f")
    Path("first.data").symlink_to("blobs/1f")
    np.save("frames.npy", np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), dtype=np.uint8))
    Path("multigraft.toml").write_text(HEAD + TASK.format(name="first", scale=0.00392), "utf-8")
    assert main(["build", "multigraft.toml", "-o", "forms.graft", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["int8_agreement"]["value"] > 0.8
