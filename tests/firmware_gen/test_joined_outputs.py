"""Firmware gives the parts of an output that was parted, and its header says how they make it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.tensors.joining import Concatenate, Joined, Part, Reshape, joined_outputs
from multigraft.tensors.specs import TensorSpec
from tests.bundle_builder import Built, build
from tests.firmware_gen.host import compile_host, reference, run_host

SIDES = (Part("far/out"), Reshape((1, 5, 2)), Part("near/out"), Reshape((1, 5, 2)), Concatenate(2, 2))


def parted() -> tuple[Built, Bundle]:
    """A bundle with one task that answers with both heads, joined to one output of 1 x 5 x 4."""
    built = build((("near", "regression"), ("far", "regression")))
    manifest = built.bundle.manifest
    task = dataclasses.replace(
        manifest.tasks[0],
        name="find",
        kind="detection",
        outputs=("near/out", "far/out"),
        segments=("trunk", "head_near", "head_far"),
        joined=(Joined("boxes/and scores", SIDES),),
    )
    contents = {name: built.bundle.read(name) for name in manifest.files}
    return built, Bundle.create(dataclasses.replace(manifest, tasks=(task,)), contents)


def test_parts_of_the_firmware_make_the_output_of_the_network(tmp_path: Path) -> None:
    built, bundle = parted()
    project = generate(bundle, core=M3)
    (task,) = project.tasks
    ports = [project.outputs[place] for place in task.outputs]
    specs = [TensorSpec(p.name, p.shape, p.dtype, p.scale, p.zero_point) for p in ports]
    answers = run_host(compile_host(project, tmp_path), project, [built.inputs])
    alone = {name: reference(built.separate[name], [built.inputs])[0] for name in ("near", "far")}
    for case in range(len(built.inputs)):
        (output,) = joined_outputs(task.joined, specs, [answers[p.name][case] for p in ports])
        wanted = joined_outputs(task.joined, specs, [alone["near"][case], alone["far"][case]])
        assert output.shape == (1, 5, 4) and np.array_equal(output, wanted[0])


def test_the_header_says_how() -> None:
    header = generate(parted()[1], core=M3).files["model.h"]
    comment = " ".join(line.removeprefix(" *").strip() for line in header.splitlines())
    formula = "concatenate(reshape(model_outputs[1]; 1 x 5 x 2), reshape(model_outputs[0]; 1 x 5 x 2); axis 2)"
    assert f"find: boxes/and scores = {formula};" in comment
    assert "model_outputs[0] is 1 x 10;" in comment
    assert max(map(len, header.splitlines())) <= 120


def test_nothing_is_said_where_nothing_was_parted() -> None:
    header = generate(build().bundle, core=M3).files["model.h"]
    assert not re.search("concatenate|scale of their own", header)
