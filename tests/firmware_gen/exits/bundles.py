"""A bundle whose frames may leave at several places, and frames for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from multigraft.answers.kind import Kind
from multigraft.bundle.bundle import Bundle
from multigraft.exits.policy import Exit, Promise, PromiseKind, Rule
from multigraft.exits.sureness import as_threshold, make_sureness
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import preparer_for
from tests.bundle_builder import assemble
from tests.firmware_gen.cascades.people import reference_engine
from tests.tflite_builder import Graph

Picture = npt.NDArray[np.uint8]
SEGMENTS = {
    "trunk": ["trunk/conv1", "trunk/conv2"],
    "exit_garment_1": ["early1/mean", "early1/out"],
    "trunk_2": ["trunk/conv3"],
    "exit_garment_2": ["early2/mean", "early2/out"],
    "exit_digit": ["early3/mean", "early3/out"],
    "head_garment": ["garment/conv", "garment/mean", "garment/out"],
    "head_digit": ["digit/conv", "digit/mean", "digit/out"],
}


def frames(count: int, seed: int = 1) -> list[Picture]:
    """Pictures of noise, coarse and fine."""
    random = np.random.default_rng(seed)
    some = []
    for number in range(count):
        side = (28, 14, 7, 4)[number % 4]
        cells = random.integers(0, 256, (side, side), np.uint8)
        some.append(cells.repeat(28 // side, axis=0).repeat(28 // side, axis=1))
    return some


def without_exits() -> Bundle:
    """Two tasks, and the exits' heads as tasks of their own."""
    graph = Graph(seed=11)
    trunk = graph.conv("trunk/conv2", graph.conv("trunk/conv1", graph.input("image", (1, 28, 28, 1)), 8), 16, stride=2)
    heads = {"early1": trunk}
    trunk = graph.conv("trunk/conv3", trunk, 16)
    heads |= {"early2": trunk, "early3": trunk}
    tasks: dict[str, tuple[Kind, str, tuple[str, ...]]] = {}
    for name, place in heads.items():
        tasks[name] = ("classification", graph.dense(f"{name}/out", graph.mean(f"{name}/mean", place), 10), ())
    for name in ("garment", "digit"):
        branch = graph.mean(f"{name}/mean", graph.conv(f"{name}/conv", trunk, 16, stride=2))
        tasks[name] = ("classification", graph.dense(f"{name}/out", branch, 10), ())
    return assemble(graph, SEGMENTS, tasks).bundle


def build(
    rules: tuple[Rule, Rule, Rule] = ("probability", "margin", "entropy"),
    *,
    share: float = 0.4,
    audited: float = 0.0,
    kind: PromiseKind = "selective",
    max_disagreement: float = 0.01,
    temperature: float = 0.7,
) -> Bundle:
    """The bundle with exits that about ``share`` of the frames that reach them take.

    Weights are random, so that an exit answers most frames otherwise than the whole network.
    """
    whole = without_exits()
    outputs = ("early1/out", "early2/out", "early3/out")
    least = [_quantile(whole, name, rule, temperature, 1 - share) for name, rule in zip(outputs, rules, strict=True)]
    promise = Promise(kind, max_disagreement, 0.95, 1000, 1000, 400, 1)
    exits = [
        Exit(segment, output, rule, temperature, as_threshold(sure, rule), promise, audited)
        for segment, output, rule, sure in zip(
            ("exit_garment_1", "exit_garment_2", "exit_digit"), outputs, rules, least, strict=True
        )
    ]
    tasks = {t.name: t for t in whole.manifest.tasks}
    garment = dataclasses.replace(
        tasks["garment"], exits=tuple(exits[:2]), segments=("trunk", "trunk_2", "head_garment")
    )
    digit = dataclasses.replace(tasks["digit"], exits=tuple(exits[2:]), segments=("trunk", "trunk_2", "head_digit"))
    return whole.with_tasks([garment, digit])


def stored(bundle: Bundle, some: list[Picture]) -> Array:
    """What frames become in the first input, frames first."""
    source = bundle.manifest.inputs[0]
    spec = bundle.manifest.tensor(source.tensor)
    preparer = preparer_for(source.preprocessing, spec)
    rows = np.empty((len(some), *spec.shape), np.int8)
    for row, frame in zip(rows, some, strict=True):
        preparer.fill(frame, row)
    return rows


def _quantile(whole: Bundle, output: str, rule: Rule, temperature: float, share: float) -> float:
    engine, spec = reference_engine(whole), whole.manifest.tensor(output)
    array = np.empty(spec.shape, np.int8)
    sureness = make_sureness(spec, array, rule, temperature)
    found = []
    for row in stored(whole, frames(60, seed=9)):
        array[...] = engine.compute({"image": row}, [output.partition("/")[0]])[output]
        found.append(sureness())
    return float(np.quantile(found, share))
