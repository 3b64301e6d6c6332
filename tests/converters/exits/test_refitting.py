"""Heads are solved anew on what int8 layers give, and lie in the bundle as they were solved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.converters.exits.building import cut_anew
from multigraft.converters.exits.heads import Head
from multigraft.converters.exits.inserting import Inserted, with_exits
from multigraft.converters.exits.observing import observe
from multigraft.converters.exits.places import Places
from multigraft.converters.exits.planning import Planned
from multigraft.converters.exits.refitting import with_own_heads
from multigraft.converters.job.progress import silent
from multigraft.converters.packing.convert import convert
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.quantising.precisions import Precision
from multigraft.converters.standing import alone
from multigraft.exits.thresholds import Asked
from multigraft.tensors.quantisation import dequantise
from tests.converters.graft.networks import frames, residual_network

FITTED, HELD = 300, 250


def agreement(bundle: Bundle, one: Inserted) -> float:
    """Of the exit with the whole network, on frames that fitted nothing."""
    runner, manifest = BundleRunner(bundle), bundle.manifest
    segments = [segment.name for segment in manifest.segments]
    output, same = manifest.task("digit").outputs[0], []
    for frame in frames(HELD, seed=77):
        values = runner.values(segments, frame)
        early, whole = (dequantise(values[name], manifest.tensor(name)) for name in (one.output, output))
        same.append(early.argmax() == whole.argmax())
    return float(np.mean(same))


@pytest.mark.parametrize(("grid", "precision"), [(1, "int8"), (2, "int8"), (2, "float32")])
def test_a_head_that_knows_nothing_learns_from_the_int8_layers(
    grid: int, precision: Precision, tmp_path: Path, onnx2tf_environment: object
) -> None:
    network = residual_network("digit", 1)
    network.kind = "classification"
    multitask, shown = alone(network), frames(FITTED)
    task = multitask.tasks[0]
    places = Places(multitask)
    candidates, logits = observe(multitask, places, task, places.of(task), shown, silent)
    candidate = next(c for c in candidates if c.place.tensor == "digit/block" and c.grid == grid)
    random = np.random.default_rng(0)
    weight = random.normal(size=(candidate.features.shape[1], logits.shape[1])).astype(np.float32)
    head = Head(grid, weight, np.zeros(logits.shape[1], np.float32), candidate.features @ weight)
    blind = Planned(candidate.place, head, "margin", 1.0, np.zeros(FITTED), 0.5, np.ones(FITTED, bool), logits)
    whole, inserted = with_exits(multitask, "digit", [blind])
    before = convert(whole, {"digit/image": shown}, precision=precision, name="a", work_dir=tmp_path, verified_inputs=8)
    finishing, found = with_own_heads(before, inserted, shown, Asked("selective", 0.1, 0.95), 1000, silent)
    assert finishing is not None
    if precision != "int8":
        assert (finishing, found) == (before.finishing, inserted)
        return
    after = cut_anew(before, finishing, found)
    # The error of the old head is none of the new one.
    gone = {layer.tensor for layer in before.layer_error.layers} - {layer.tensor for layer in after.layer_error.layers}
    assert gone == {finishing.prepared.floating.boundaries[inserted[0].output]}
    planned = found[0].planned
    said = float((planned.head.predicted.argmax(1) == logits.argmax(1)).mean())
    # Four standard errors of frames held out.
    assert said > 0.7
    assert agreement(before.bundle, inserted[0]) < said - 0.15
    assert agreement(after.bundle, found[0]) > said - 0.12
    assert planned.expected_rate > 0 and len(planned.surenesses) == FITTED
    # What is not the head's is as it was.
    names = {s.name: s.weights_bytes for s in before.bundle.manifest.segments}
    assert names == {s.name: s.weights_bytes for s in after.bundle.manifest.segments}
