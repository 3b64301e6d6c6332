"""Detectors of three scales on one backbone, exported in three ways, as one int8 bundle with the real onnx2tf."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.converters.conversion.interpreters import available
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.importing.simplify import simplify
from multigraft.converters.network.network import Network
from multigraft.converters.packing.convert import Conversion, convert
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.runtime import Engine
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.descent.detectors import Detector, Export
from tests.converters.descent.equal_parts import plan_of
from tests.firmware_gen.host import compile_host, interpreter, reference, run_host, stimuli

RGB = Preprocessing(32, 32, "rgb", (0.0,) * 3, (1 / 255,) * 3)
OTHERWISE = Export(opset=11, folds=False, shuffled=9, prefix="b/", constants=True)
DETECTORS = {
    "person": Detector(head=1),
    "face": Detector(head=2, classes=3, export=OTHERWISE),
    "hand": Detector(head=3, classes=2, tuned=("stage5",), export=OTHERWISE),
    "copy": Detector(head=1, export=OTHERWISE),
}
RANDOM = np.random.default_rng(0)
FRAMES = list(RANDOM.integers(0, 256, (24, 8, 8, 3), np.uint8).repeat(4, axis=1).repeat(4, axis=2))


@pytest.fixture(scope="module")
def networks() -> tuple[Network, ...]:
    return tuple(Network(n, simplify(d.model(), RGB, n), RGB, "other") for n, d in DETECTORS.items())


@pytest.fixture(scope="module")
def conversion(
    networks: tuple[Network, ...], onnx2tf_environment: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Conversion:
    made = assemble(networks, plan_of(*networks))
    given = {networks[0].input: FRAMES}
    return convert(made, given, name="family", work_dir=tmp_path_factory.mktemp("work"))


def test_parts_in_turn_equal_the_whole_bit_for_bit_on_every_interpreter(conversion: Conversion) -> None:
    verification = conversion.verification
    assert verification.inputs >= 200 and verification.mismatches == 0 and not verification.refused
    assert tuple(verification.backends) == available()
    assert max(verification.float_error.values()) < 1e-5


def test_the_trunk_is_there_once_and_a_task_runs_what_it_needs(conversion: Conversion) -> None:
    manifest = conversion.bundle.manifest
    assert {t.name: t.segments for t in manifest.tasks} == {
        "person": ("trunk", "trunk_2", "trunk_3"),
        "face": ("trunk", "trunk_2", "head_face"),
        "hand": ("trunk", "head_hand"),
        "copy": ("trunk", "trunk_2", "trunk_3"),
    }
    assert len(manifest.segment("trunk").outputs) == len(manifest.segment("head_face").inputs) == 3
    convolutions = {s.name: s.operators.get("CONV_2D", 0) for s in manifest.segments}
    assert convolutions == {"trunk": 9, "trunk_2": 5, "trunk_3": 6, "head_face": 6, "head_hand": 11}
    engine = Engine(conversion.bundle)
    assert engine.self_test is not None and engine.self_test.exact


def test_every_task_answers_about_as_its_own_network(networks: tuple[Network, ...], conversion: Conversion) -> None:
    runner = BundleRunner(conversion.bundle)
    for network in networks:
        (wanted,) = network.run(network.prepare(FRAMES)).values()
        (given,) = runner.outputs(network.name, FRAMES)
        assert given.shape == wanted.shape
        error = np.abs(given - wanted).mean() / np.abs(wanted).mean()
        assert error < 0.15, network.name


def test_firmware_of_it_gives_the_reference_kernels_bits(conversion: Conversion, tmp_path: Path) -> None:
    project = generate(conversion.bundle, core=M3)
    pixels = np.concatenate([stimuli((1, 32, 32, 3), 6), RANDOM.integers(-128, 128, (4, 1, 32, 32, 3), np.int8)])
    answers = run_host(compile_host(project, tmp_path), project, [pixels])
    names = [d["name"] for d in interpreter(conversion.uncut_model).get_output_details()]
    wanted = dict(zip(names, reference(conversion.uncut_model, [pixels]), strict=True))
    assert answers.keys() == {"person/found", "face/b/found", "hand/b/found"}
    for name, values in answers.items():
        np.testing.assert_array_equal(values.reshape(wanted[name].shape), wanted[name])
