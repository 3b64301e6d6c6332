"""Two trunks, one with a branch, as one int8 bundle with the real onnx2tf: on every interpreter and as firmware."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.converters.conversion.interpreters import available
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import Limits
from multigraft.converters.packing.convert import convert
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.packing.finishing import Conversion
from multigraft.converters.planning.planner import plan_sharing
from multigraft.converters.similarity.representations import SimilarityTable
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.runtime import Engine
from tests.converters.graft.networks import frames
from tests.converters.planning.chains import chain
from tests.firmware_gen.host import compile_host, interpreter, reference, run_host, stimuli

NETWORKS = (
    chain("a", (6, 8, 8, 12), (1, 1, 5, 21)),
    chain("b", (6, 8, 8, 12), (1, 1, 5, 22)),
    chain("c", (6, 8, 8, 12), (1, 1, 6, 23)),
    chain("d", (6, 8, 8, 12), (1, 1, 6, 24)),
    chain("leaf", (5, 7), (2, 2), size=12),
    chain("fruit", (5, 7), (2, 2), size=12),
)
FRAMES = frames(64, 1, 16)


@pytest.fixture(scope="module")
def conversion(onnx2tf_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    evidence = {n.name: Evidence(FRAMES[:32], FRAMES[32:]) for n in NETWORKS}
    # Where nothing is alike by similarity, networks are tried all the same, and refitted ones miss this budget.
    nothing = SimilarityTable.empty([n.name for n in NETWORKS], 0)
    plan = plan_sharing(NETWORKS, evidence, nothing, Limits(min_agreement=0.9), SearchOptions()).chosen
    assert all(g.join.method == "exact" for g in plan.grafts.values())
    joined = assemble(NETWORKS, plan)
    given = dict.fromkeys(joined.inputs, FRAMES)
    return convert(joined, given, name="forest", work_dir=tmp_path_factory.mktemp("work"))


def test_every_trunk_and_branch_is_there_once(conversion: Conversion) -> None:
    manifest = conversion.bundle.manifest
    shared = {s.name: {t.name for t in manifest.tasks if s.name in t.segments} for s in manifest.segments}
    groups = sorted(sorted(tasks) for tasks in shared.values() if len(tasks) > 1)
    assert groups == [["a", "b"], ["a", "b", "c", "d"], ["c", "d"], ["fruit", "leaf"]]
    assert len(manifest.inputs) == 2
    convolutions = sum(s.operators.get("CONV_2D", 0) for s in manifest.segments)
    assert convolutions == 2 + 1 + 1 + 4 + 2
    (on_branch,) = [t for t in manifest.tasks if t.branch]
    assert on_branch.name in "cd" and on_branch.branch in ("c", "d")


def test_parts_in_turn_equal_the_whole_bit_for_bit_on_every_interpreter(conversion: Conversion) -> None:
    verification = conversion.verification
    assert verification.inputs >= 200 and verification.mismatches == 0 and not verification.refused
    assert tuple(verification.backends) == available()
    assert max(verification.float_error.values()) < 1e-5
    engine = Engine(conversion.bundle)
    assert engine.self_test is not None and engine.self_test.exact


def test_every_task_answers_about_as_its_own_network(conversion: Conversion) -> None:
    runner, shown = BundleRunner(conversion.bundle), frames(40, 7, 16)
    for network in NETWORKS:
        (wanted,) = network.run(network.prepare(shown)).values()
        (given,) = runner.outputs(network.name, shown)
        assert np.abs(given - wanted).mean() < 0.15 * np.abs(wanted).mean(), network.name


def test_firmware_of_it_gives_the_reference_kernels_bits(conversion: Conversion, tmp_path: Path) -> None:
    project = generate(conversion.bundle, core=M3)
    sizes = (1, 16, 16, 1), (1, 12, 12, 1)
    inputs = [stimuli(size, 6) for size in sizes]
    answers = run_host(compile_host(project, tmp_path), project, inputs)
    names = [d["name"] for d in interpreter(conversion.uncut_model).get_output_details()]
    wanted = dict(zip(names, reference(conversion.uncut_model, inputs), strict=True))
    assert len(answers) == len(NETWORKS)
    for name, values in answers.items():
        np.testing.assert_array_equal(values.reshape(wanted[name].shape), wanted[name])
