"""The four ways through multigraft as pictures: ``docs/way-*.svg``, each step with its module.

The steps are written by hand; that the modules exist is held by a test.
"""

from __future__ import annotations

from dataclasses import dataclass

from docs.pages.svg import Picture

_WIDTH, _HEIGHT, _GAP, _PER_ROW = 236, 92, 32, 4
_LETTERS = 36
"""As many letters of the small fonts go into a box."""


@dataclass(frozen=True)
class Step:
    """One box: what happens, where, and what comes out of it."""

    title: str
    module: str
    gives: str


@dataclass(frozen=True)
class Way:
    """One artifact's way from its first form to its last."""

    name: str
    title: str
    steps: tuple[Step, ...]


FRAME = Way(
    "frame",
    "A frame becomes answers",
    (
        Step("Camera", "devices/cameras/camera.py", "frame: uint8, height x width x 3"),
        Step("Preprocessing", "core/tensors/preprocessing.py", "the networks' inputs"),
        Step("Engine", "runtime/engine.py", "which segments run, in order"),
        Step("Interpreter", "runtime/tflite_model.py", "output tensors, one signature each"),
        Step("Dequantise", "core/tensors/quantisation.py", "real numbers"),
        Step("Answers", "runtime/answers.py", "label and score, boxes, points, mask"),
        Step("multigraft run", "core/cli/run.py", "one JSON line per frame"),
    ),
)
NETWORK = Way(
    "network",
    "A network becomes part of a bundle",
    (
        Step("Settings", "converters/settings/settings.py", "Settings"),
        Step("Import", "converters/importing/importer.py", "Network: simplified, verified"),
        Step("Similarity", "converters/similarity/representations.py", "CKA of all pairs of cut points"),
        Step("Candidates", "converters/graft/propose.py", "share points worth a try"),
        Step("Refit", "converters/graft/refit.py", "layers behind that point, re-solved"),
        Step("Search and budget", "converters/graft/search.py", "the plan; agreement with its bound"),
        Step("Assemble", "converters/graft/assemble.py", "one ONNX graph for all tasks"),
        Step("Convert", "converters/conversion/onnx2tf.py", "float32 .tflite in one piece"),
        Step("Quantise", "converters/quantising/quantise.py", "int8 .tflite in one piece"),
        Step("Cut", "converters/packing/segments.py", "one subgraph per segment"),
        Step("Verify", "converters/packing/verify.py", "equal to the whole, bit for bit"),
        Step("Pack", "converters/packing/bundling.py", "NAME.graft"),
    ),
)
STATISTICS = Way(
    "statistics",
    "Statistics come home from a device",
    (
        Step("Prepare", "converters/field/taps_bundle.py", "home.mgtaps: networks with taps"),
        Step("Select frames", "calibration/collect/selection.py", "frames that tell something new"),
        Step("Run the taps", "calibration/collect/taps_runner.py", "representations of a minibatch"),
        Step("Sample", "calibration/collect/sampler.py", "sums of that minibatch"),
        Step("Store", "calibration/collect/store.py", "sums, safe from power cuts"),
        Step("Statistics", "core/statistics/statistics.py", "sums over all frames, mergeable"),
        Step("File", "core/statistics/statistics_file.py", "NAME.mgstats"),
        Step("Read at home", "converters/field/statistics_input.py", "CKA and ranges for the build"),
    ),
)
FIRMWARE = Way(
    "firmware",
    "A model becomes firmware",
    (
        Step("Join", "firmware_gen/program/program.py", "steps, and the tasks they serve"),
        Step("Check", "firmware_gen/operators/base/operator.py", "or every constraint that is broken"),
        Step("Fold padding", "firmware_gen/passes/fold_padding.py", "fewer steps"),
        Step("Prune", "firmware_gen/passes/pruning.py", "no channel that never changes"),
        Step("Lower", "firmware_gen/kernels/convolution.py", "a C function per step"),
        Step("Stream", "firmware_gen/passes/streaming.py", "row by row where that saves memory"),
        Step("Place", "firmware_gen/memory/planner.py", "an address for every tensor"),
        Step("Print", "firmware_gen/project/emission.py", "model.h, model.c, kernels"),
        Step("Project", "firmware_gen/project/folder.py", "a folder that make builds"),
        Step("Flash", "devices/flash/flasher.py", "the image on the board"),
        Step("Ask", "devices/target/target.py", "answers, cycles, memory"),
    ),
)
WAYS = (FRAME, NETWORK, STATISTICS, FIRMWARE)


def svg(way: Way) -> str:
    """A way as rows of boxes, read like text.

    Raises:
        ValueError: A line does not fit into its box.
    """
    lines = -(-len(way.steps) // _PER_ROW)
    across, down = _WIDTH + _GAP, _HEIGHT + _GAP
    described = "; ".join(f"{s.title} ({s.module}): {s.gives}" for s in way.steps)
    picture = Picture(_PER_ROW * across + 8, lines * down + 24, way.title, described)
    for i, step in enumerate(way.steps):
        if max(map(len, (*step.module.rsplit("/", 1), step.gives))) > _LETTERS:
            raise ValueError(f"{step.module}: {step.gives} is too long for its box")
        x, y = 20 + (i % _PER_ROW) * across, 20 + (i // _PER_ROW) * down
        picture.box(x, y, _WIDTH, _HEIGHT, "end" if i in (0, len(way.steps) - 1) else "box")
        picture.text(x + 12, y + 26, f"{i + 1}. {step.title}", "h")
        folder, _, name = step.module.rpartition("/")
        picture.text(x + 12, y + 46, f"{folder}/", "m")
        picture.text(x + 12, y + 61, name, "m")
        picture.text(x + 12, y + 80, step.gives, "s")
        if i + 1 < len(way.steps):
            middle = y + _HEIGHT / 2
            if (i + 1) % _PER_ROW:
                picture.arrow((x + _WIDTH, middle), (x + across, middle))
            else:
                lower, below = y + _HEIGHT + _GAP / 2, y + down
                picture.arrow((x + _WIDTH / 2, y + _HEIGHT), (x + _WIDTH / 2, lower), (138, lower), (138, below))
    return str(picture)
