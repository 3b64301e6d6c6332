"""The study command: grafts at all share points of labelled networks, and the correlations of what they keep."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from scipy.stats import pearsonr

from multigraft.cli.main import main
from multigraft.converters.study.study import PREDICTORS, StudyPoint, correlate, study
from tests.converters.onnx_builder import OnnxBuilder

SIZE, CLASSES = 8, 4


def model(seed: int, noise: float = 0.0, channels: tuple[int, ...] = (8, 8, 8)) -> onnx.ModelProto:
    builder = OnnxBuilder(seed)
    x = builder.input("image", 3, SIZE, SIZE)
    for i, outputs in enumerate(channels):
        x = builder.conv_relu(f"block{i}", x, outputs)
    made = builder.model(builder.classifier("logits", x, CLASSES))
    rng = np.random.default_rng(99)
    for tensor in made.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            changed = values + noise * values.std() * rng.standard_normal(values.shape)
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed.astype(np.float32), tensor.name))
    return made


def smooth(count: int, seed: int) -> Any:
    """Random frames whose colours differ more between frames than between pixels, so that answers differ."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 200, (count, 1, 1, 3))
    return (colour + rng.integers(0, 56, (count, SIZE, SIZE, 3))).astype(np.uint8)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Three networks: b descends from a, c is independent; labels are each network's own answers."""
    from multigraft.converters.importing.importer import load_network

    np.savez(tmp_path / "frames.npz", frames=smooth(200, 1))
    labelled = smooth(150, 2)
    answers = {}
    text = 'frames = "frames.npz"\n[budget]\nmin_agreement = 0.9\n[graft]\nfit_frames = 100\n'
    for name, made in {"a": model(1), "b": model(1, 0.1), "c": model(2)}.items():
        onnx.save(made, tmp_path / f"{name}.onnx")
        network = load_network(tmp_path / f"{name}.onnx")
        answers[name] = network.run(network.prepare(list(labelled)))[network.outputs[0]].argmax(1)
        text += (
            f'[[task]]\nname = "{name}"\nmodel = "{name}.onnx"\nkind = "classification"\nlabelled = "labelled.npz"\n'
        )
        text += f"preprocessing = {{ size = [{SIZE}, {SIZE}] }}\n"
    np.savez(tmp_path / "labelled.npz", frames=labelled, **answers)
    path = tmp_path / "multigraft.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_study_covers_all_share_points_and_says_what_predicts(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["study", str(settings), "-o", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    result = json.loads((out / "study.json").read_text("utf-8"))
    assert printed == result
    points = result["points"]
    # Cut points of equal shape: 2 x 2 pairs of blocks and the pooled features, raw and refitted, for 6 ordered pairs.
    assert len(points) == 6 * (4 + 1) * 2
    assert all(p["original_accuracy"] == 1 for p in points)
    relation = {(p["donor"], p["target"]): p["relation"] for p in points}
    assert relation["a", "b"] == relation["b", "a"] == "relatives"
    assert relation["a", "c"] == relation["c", "b"] == "independent"

    def mean(sharing: str, kind: str) -> float:
        accuracies = [
            p["accuracy"]
            for p in points
            if (p["sharing"], p["relation"]) == (sharing, kind) and p["donor_layer"] == p["target_layer"]
        ]
        return float(np.mean(accuracies))

    assert {p["donor_layer"] == p["target_layer"] for p in points if p["same_layer"]} == {True}
    groups = {c["group"]: c["points"] for c in result["correlations"] if c["sharing"] == "raw"}
    assert groups["relatives, same layer"] == 2 * groups["b, same layer"] == 2 * (2 + 1)
    assert "c, same layer" not in groups
    assert mean("raw", "relatives") > mean("raw", "independent") + 0.1
    assert mean("refitted", "independent") > mean("raw", "independent") + 0.1
    raw = [p for p in points if p["sharing"] == "raw"]
    correlation = next(
        c
        for c in result["correlations"]
        if (c["group"], c["sharing"], c["outcome"], c["predictor"]) == ("all", "raw", "accuracy", "agreement")
    )
    expected = pearsonr([p["agreement"] for p in raw], [p["accuracy"] for p in raw])
    assert correlation["r"] == pytest.approx(expected.statistic) and correlation["points"] == 30
    assert correlation["r"] > 0.9
    assert correlation["low"] < correlation["r"] < correlation["high"]
    assert min(Image.open(out / "study.png").size) > 400


def test_pairs_can_be_chosen(settings: Path) -> None:
    from multigraft.converters.graft.evidence import Evidence
    from multigraft.converters.importing.importer import load_task
    from multigraft.converters.network.labelled import load_labelled
    from multigraft.converters.settings.settings import Settings
    from multigraft.converters.similarity.representations import measure_similarity

    networks = [load_task(task, settings.parent) for task in Settings.load(settings).tasks]
    labelled = {n.name: load_labelled(settings.parent / "labelled.npz", n.name) for n in networks}
    frames = list(smooth(120, 3))
    evidence = {n.name: Evidence(frames[:80], frames[80:]) for n in networks}
    found = study(networks, evidence, labelled, measure_similarity(networks, frames[:80]), pairs={("a", "c")})
    assert {(p.donor, p.target) for p in found.points} == {("a", "c")} and len(found.points) == (4 + 1) * 2


def test_the_table_is_for_people(settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = settings.read_text("utf-8")
    settings.write_text(text[: text.index('[[task]]\nname = "c"')], "utf-8")
    assert main(["study", str(settings), "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    for words in ("relatives", "b on a", "raw", "refitted", "unbiased CKA", "agreement", "shared bytes", "study.json"):
        assert words in out
    assert "b: 100.0% on 150 labelled frames" in out


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ('labelled = "labelled.npz"\n', "", 78, "has no labelled frames"),
        ('kind = "classification"', 'kind = "regression"', 2, "is regression"),
        ('[[task]]\nname = "b"', "", 78, None),
    ],
)
def test_studies_that_cannot_be_made_are_refused_in_one_sentence(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, code: int, words: str | None
) -> None:
    settings.write_text(settings.read_text("utf-8").replace(old, new), "utf-8")
    out = tmp_path / "out"
    assert main(["study", str(settings), "-o", str(out)]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("multigraft:")]
    assert len(errors) == 1 and (words or "") in errors[0]
    assert not (out / "study.json").exists()


def test_labels_beyond_the_classes_are_refused(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "labelled.npz", frames=smooth(20, 2), labels=np.full(20, CLASSES))
    assert main(["study", str(settings), "-o", str(tmp_path / "out")]) == 2
    assert f"give labels 0 to {CLASSES - 1}" in capsys.readouterr().err


def point(**changes: Any) -> StudyPoint:
    values: dict[str, Any] = {
        "donor": "a", "target": "b", "donor_layer": "x", "target_layer": "x", "relation": "relatives",
        "sharing": "raw", "method": "raw", "accuracy": 0.5, "original_accuracy": 0.9, "unbiased_cka": 0.5,
        "biased_cka": 0.6, "agreement": 0.5, "shared_bytes": 10, "shared_macs": 10,
    }  # fmt: skip
    return StudyPoint(**values | changes)


def test_correlations_that_are_not_defined_are_none() -> None:
    few = [point(accuracy=a / 10, agreement=a / 10) for a in range(3)]
    constant = [point(accuracy=0.5, agreement=a / 10) for a in range(9)]
    for points in ([], few, constant):
        assert all(c.r is None and c.p_value is None for c in correlate(points))
    enough = [point(accuracy=a / 10, agreement=math.sqrt(a)) for a in range(4)]
    by_group = {(c.group, c.predictor): c for c in correlate(enough) if c.sharing == "raw" and c.outcome == "accuracy"}
    assert by_group["relatives", "agreement"].r is not None and by_group["relatives", "shared_bytes"].r is None
    assert by_group["b on a", "agreement"].r == by_group["all", "agreement"].r
    assert {p for _, p in by_group} == set(PREDICTORS)
