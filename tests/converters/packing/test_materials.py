"""The bill of materials in a bundle's provenance."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from pathlib import Path

import pytest

import multigraft
from multigraft.bundle.bundle import LARGEST, MANIFEST
from multigraft.cli.main import main
from multigraft.converters.conversion.onnx2tf_environment import REQUIREMENTS
from multigraft.converters.packing.materials import FILES_DIGEST, bill_of_materials
from tests.bundle_builder import assemble, build
from tests.tflite_builder import Graph


def test_it_names_what_built_the_bundle_with_versions_and_digests() -> None:
    bill = bill_of_materials("2.6.9")
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert bill["metadata"]["component"]["version"] == multigraft.__version__
    own = {c["name"]: c for c in bill["components"] if "hashes" not in c}
    assert own["CPython"]["version"] == ".".join(map(str, sys.version_info[:3]))
    for name in ("numpy", "onnx", "onnxruntime", "onnxslim", "litert-quantizer", "ai-edge-litert", "scipy", "protobuf"):
        assert own[name]["version"] == importlib.metadata.version(name)
        assert own[name]["purl"] == f"pkg:pypi/{name}@{own[name]['version']}"
        (digest,) = own[name]["properties"]
        assert digest["name"] == FILES_DIGEST and re.fullmatch("[0-9a-f]{64}", digest["value"])
    assert "pytest" not in own and "multigraft" not in own


def test_the_converters_environment_is_listed_as_it_is_pinned() -> None:
    text = REQUIREMENTS.read_text("utf-8")
    listed = [c for c in bill_of_materials("2.6.9")["components"] if "hashes" in c]
    pinned = re.findall(r"^([^#\s]+)==(\S+)", text, re.MULTILINE)
    assert [(c["name"], c["version"]) for c in listed] == [(n.replace("_", "-"), v) for n, v in pinned]
    digests = {h["content"] for c in listed for h in c["hashes"]}
    assert digests == set(re.findall(r"sha256:([0-9a-f]{64})", text))


def test_an_environment_of_the_user_is_no_more_than_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIGRAFT_ONNX2TF", "/some/python")
    (converter,) = [c for c in bill_of_materials("2.7.0")["components"] if "multigraft:environment" in str(c)]
    assert (converter["name"], converter["version"]) == ("onnx2tf", "2.7.0") and "hashes" not in converter


def test_where_nothing_was_converted_no_converter_is_listed() -> None:
    assert "onnx2tf" not in [c["name"] for c in bill_of_materials()["components"]]


def test_it_holds_no_place_and_no_time_and_little_of_a_manifest() -> None:
    text = json.dumps(bill_of_materials("2.6.9"))
    assert text == json.dumps(bill_of_materials("2.6.9"))
    assert sys.prefix not in text and str(Path.home()) not in text and "timestamp" not in text
    assert len(text) < LARGEST[MANIFEST] / 100


def test_inspect_counts_it_and_shows_it_whole_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = Graph(seed=1)
    graph.conv("net/conv", graph.input("image", (1, 8, 8, 1)), 4)
    bill = bill_of_materials("2.6.9")
    made = assemble(graph, {"net": ["net/conv"]}, {"net": ("other", "net/conv", ())}, provenance={"sbom": bill})
    made.bundle.write(tmp_path / "a.graft")
    assert main(["inspect", str(tmp_path / "a.graft")]) == 0
    said = capsys.readouterr().out
    assert f"CycloneDX, {len(bill['components'])} components" in said and "purl" not in said
    assert main(["inspect", "--json", str(tmp_path / "a.graft")]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["sbom"] == bill


@pytest.mark.parametrize("bill", ["text", 3, {"components": 3}, None])
def test_whatever_a_stranger_calls_a_bill_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bill: object
) -> None:
    graph = Graph(seed=1)
    graph.conv("net/conv", graph.input("image", (1, 8, 8, 1)), 4)
    made = assemble(graph, {"net": ["net/conv"]}, {"net": ("other", "net/conv", ())}, provenance={"sbom": bill})
    made.bundle.write(tmp_path / "a.graft")
    assert main(["inspect", str(tmp_path / "a.graft")]) == 0


def test_bundles_without_one_are_read_as_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build().bundle.write(tmp_path / "old.graft")
    assert main(["inspect", str(tmp_path / "old.graft")]) == 0
    assert "CycloneDX" not in capsys.readouterr().out
