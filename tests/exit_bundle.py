"""Bundles with an early exit, built in code."""

from __future__ import annotations

import dataclasses

from multigraft.answers.kind import Kind
from multigraft.bundle.bundle import Bundle
from multigraft.exits.policy import Exit, Promise, PromiseKind, Rule
from tests.bundle_builder import assemble
from tests.tflite_builder import Graph

EXIT = "exit_garment"
LOGITS = "exit/out"


def policy(
    threshold: float,
    *,
    rule: Rule = "probability",
    audited: float = 0.0,
    kind: PromiseKind = "selective",
    max_disagreement: float = 0.01,
) -> Exit:
    """What the manifest says of the exit."""
    promise = Promise(kind, max_disagreement, 0.95, 1000, 1000, 400, 1)
    return Exit(EXIT, LOGITS, rule, 1.0, threshold, promise, audited)


def build(
    found: Exit,
    heads: tuple[str, ...] = ("garment", "digit"),
    float32: bool = False,
    is_split: bool = False,
    is_for_all: bool = False,
) -> Bundle:
    """A trunk, a classification a head, and an exit of the first of them right behind the trunk.

    Args:
        found: What is said of the exit.
        heads: Names of the tasks.
        float32: Weights and activations.
        is_split: A second part of the trunk lies behind the exit.
        is_for_all: Every task has such an exit, ``exit_TASK``, with other weights.
    """
    graph = Graph(seed=7, float32=float32)
    source = graph.input("image", (1, 28, 28, 1))
    trunk = graph.conv("trunk/conv2", graph.conv("trunk/conv1", source, 8), 16, stride=2)
    early = graph.dense(LOGITS, graph.mean("exit/mean", trunk), 10)
    segments = {"trunk": ["trunk/conv1", "trunk/conv2"], EXIT: ["exit/mean", LOGITS]}
    early_of = {heads[0]: early}
    for name in heads[1:] if is_for_all else ():
        early_of[name] = graph.dense(f"exit_{name}/out", graph.mean(f"exit_{name}/mean", trunk), 10)
        segments[f"exit_{name}"] = [f"exit_{name}/mean", f"exit_{name}/out"]
    if is_split:
        trunk = graph.conv("trunk/conv3", trunk, 16)
        segments["trunk_2"] = ["trunk/conv3"]
    tasks: dict[str, tuple[Kind, str, tuple[str, ...]]] = {}
    for name in heads:
        branch = graph.conv(f"{name}/conv", trunk, 16, stride=2)
        out = graph.dense(f"{name}/out", graph.mean(f"{name}/mean", branch), 10)
        segments[f"head_{name}"] = [f"{name}/conv", f"{name}/mean", f"{name}/out"]
        tasks[name] = ("classification", out, ())
    # The builder records outputs of tasks alone, so the exit is one until the manifest says better.
    early_tasks: dict[str, tuple[Kind, str, tuple[str, ...]]] = {
        f"early {name}": ("classification", logits, ()) for name, logits in early_of.items()
    }
    whole = assemble(graph, segments, {**tasks, **early_tasks}).bundle
    exits = {name: dataclasses.replace(found, segment=f"exit_{name}", output=at) for name, at in early_of.items()}
    exits[heads[0]] = found
    kept = [t for t in whole.manifest.tasks if t.name in tasks]
    return whole.with_tasks([dataclasses.replace(t, exits=(exits[t.name],) if t.name in exits else ()) for t in kept])
