"""A bundle of a few bytes: its model is none, which nobody but an engine looks into."""

from __future__ import annotations

from multigraft.bundle.bundle import GOLDEN_INPUTS, GOLDEN_OUTPUTS, MODEL, MODEL_CARD, Bundle
from multigraft.bundle.manifest import Input, Manifest, Segment, Task
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tensors.specs import TensorSpec

CONTENTS = {MODEL: b"the model", GOLDEN_OUTPUTS: b"out", GOLDEN_INPUTS: b"in", MODEL_CARD: b"# home\n"}


def manifest() -> Manifest:
    """A trunk and two heads, one of which reads what the other wrote."""
    return Manifest(
        name="home",
        tasks=(
            Task("garment", "classification", ("logits",), ("trunk", "head_garment"), ("shirt", "shoe")),
            Task(
                "place", "regression", ("xy", "logits"), ("trunk", "head_garment", "head_place"), (), "relative",
                "garment", "trunk/relu", {"value": 0.5, "frames": 7},
            ),
        ),
        segments=(
            Segment("trunk", "t", {"in": "image"}, {"out": "features"}, "int8", 1000, 200, {"CONV_2D": 2}),
            Segment("head_garment", "g", {"in": "features"}, {"out": "logits"}, "int8", 30, 40),
            Segment("head_place", "p", {"a": "features", "b": "logits"}, {"out": "xy"}, "float32", 50, 60),
        ),
        inputs=(Input("image", Preprocessing(8, 6, "grey", (127.5,), (0.25,), "fit")),),
        tensors=(
            TensorSpec("image", (1, 8, 6, 1), "int8", 0.5, -3),
            TensorSpec("features", (1, 4, 3, 8), "int8", 0.25, 7),
            TensorSpec("logits", (1, 2), "int8", 0.125),
            TensorSpec("xy", (1, 2), "float32"),
        ),
        files={},
        provenance={"tools": {"multigraft": "0.1"}},
    )  # fmt: skip


def bundle() -> Bundle:
    """The manifest with its files filled in."""
    return Bundle.create(manifest(), CONTENTS)
