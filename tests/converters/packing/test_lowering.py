"""A converted network with weights of few bits: one bundle that answers on every interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.bundle.manifest import Task
from multigraft.cli.main import main
from multigraft.converters.conversion.interpreters import available
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.network.frames import Frame
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.packing.convert import convert
from multigraft.converters.packing.fallback import with_fallback
from multigraft.converters.packing.finishing import Conversion
from multigraft.converters.packing.lowering import Asked, check_precision, lowered
from multigraft.errors import MissingDependencyError, UsageError
from multigraft.runtime import Engine
from multigraft.runtime.delegate import library
from multigraft.tensors.preprocessing import Preprocessing
from multigraft.tflite import tflite_file
from tests.converters.onnx_builder import OnnxBuilder

PICTURE = Preprocessing(12, 12, "rgb", (120.0,) * 3, (0.02,) * 3)


def frames(count: int) -> list[Frame]:
    coarse = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return list(coarse.repeat(3, axis=1).repeat(3, axis=2))


def multitask() -> MultiTaskModel:
    """``kind`` on a trunk that ends in a 1x1 convolution."""
    b = OnnxBuilder(3)
    cut = b.conv_relu("narrow", b.conv_relu6("stem", b.input("image", 3, 12, 12), 32, 3), 16, 1)
    kind = b.classifier("kind/logits", b.conv_relu("deep", cut, 64, 3, 2), 6)
    return MultiTaskModel(
        b.model(kind),
        {"image": PICTURE},
        (SegmentSpec("trunk", ("image",), (cut,)), SegmentSpec("head_kind", (cut,), (kind,))),
        (Task("kind", "classification", (kind,), ("trunk", "head_kind")),),
        {},
    )


@pytest.fixture(scope="module")
def conversion(onnx2tf_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    work = tmp_path_factory.mktemp("work")
    return convert(multitask(), {"image": frames(40)}, name="few", work_dir=work, verified_inputs=8)


@pytest.fixture(scope="module")
def two_bits(conversion: Conversion) -> Conversion:
    return lowered(conversion, Asked("2bit", {}))


def test_its_weights_have_2_bits_and_segments_still_equal_the_uncut_model(two_bits: Conversion) -> None:
    model = tflite_file.read(two_bits.bundle.model)
    dense = [g.tensors[o.inputs[1]].dtype for g in model.subgraphs for o in g.ops if o.name == "FULLY_CONNECTED"]
    assert "int2" in dense and two_bits.verification.mismatches == 0
    assert two_bits.low_bit is not None and two_bits.low_bit.memory_after < two_bits.low_bit.memory_before
    assert [layer["bits"] for layer in two_bits.bundle.manifest.provenance["low_bit"]["layers"]] == [2] * len(dense)
    assert two_bits.agreement["kind"].value > 0.5
    assert not {layer.tensor for layer in two_bits.low_bit.layers} & {n.tensor for n in two_bits.safety.noisy}


@pytest.mark.parametrize("backend", available())
def test_the_bundle_answers_on_every_interpreter(two_bits: Conversion, backend: str, tmp_path: Path) -> None:
    path = two_bits.whole_bundle.write(tmp_path / "few.graft")
    engine = Engine(path, backend="litert" if backend == "ai-edge-litert" else "tflite-runtime")
    assert (engine.fallback_reason is None) == (backend == "ai-edge-litert")
    assert engine.run(frames(1)[0]).answers["kind"] is not None


def test_firmware_is_made_of_the_int8_model(
    two_bits: Conversion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = two_bits.whole_bundle.write(tmp_path / "few.graft")
    assert main(["firmware", str(path), "--board", "nucleo-h743", "-o", str(tmp_path / "fw")]) == 0
    assert "made of the int8 model" in capsys.readouterr().err
    bare = tmp_path / "few.tflite"
    bare.write_bytes(Bundle.open(path).model)
    assert main(["firmware", str(bare), "--board", "nucleo-h743", "-o", str(tmp_path / "no")]) != 0
    assert "have to be constant int8" in capsys.readouterr().err


@pytest.fixture(scope="module")
def one_bit(conversion: Conversion) -> Conversion:
    return lowered(conversion, Asked("1bit", {}))


@pytest.mark.parametrize("backend", available())
def test_layers_of_1_bit_run_by_the_delegate_and_int8_comes_along(
    one_bit: Conversion, conversion: Conversion, backend: str, tmp_path: Path
) -> None:
    model = tflite_file.read(one_bit.bundle.model)
    assert [op.custom_code for g in model.subgraphs for op in g.ops].count("LceBconv2d") == 2
    assert one_bit.verification.mismatches == 0 and one_bit.fallback is conversion.bundle
    path = one_bit.whole_bundle.write(tmp_path / "bits.graft")
    engine = Engine(path, backend="litert" if backend == "ai-edge-litert" else "tflite-runtime")
    assert engine.fallback_reason is None
    assert engine.run(frames(1)[0]).answers["kind"] is not None
    assert sum("1 bit in " in line for line in one_bit.sentences()) == 2


def test_where_1_bit_loses_too_much_int8_stays_and_it_says_so(conversion: Conversion) -> None:
    said: list[str] = []
    same = lowered(conversion, Asked("auto-1bit", {"kind": 0.9999}), said.append)
    assert same.bundle is conversion.bundle and same.fallback is None
    assert any("int8 is the better answer" in line for line in said)


def test_without_the_delegate_1_bit_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    check_precision("1bit", "int8")
    monkeypatch.setattr(library, "_LIBRARY", "not_compiled.so")
    check_precision("2bit", "int8")
    with pytest.raises(MissingDependencyError, match="not part of this installation"):
        check_precision("auto-1bit", "int8")


def test_firmware_has_1_bit_layers_itself(one_bit: Conversion, tmp_path: Path) -> None:
    path = one_bit.whole_bundle.write(tmp_path / "bits.graft")
    project = tmp_path / "fw"
    assert main(["firmware", str(path), "--board", "nucleo-h743", "-o", str(project)]) == 0
    assert any("bconv" in file.read_text().lower() for file in project.rglob("*.[ch]"))


def test_where_no_layer_can_have_few_bits_int8_stays_and_it_says_so(conversion: Conversion) -> None:
    said: list[str] = []
    same = lowered(conversion, Asked("auto", {"kind": 0.9999}), said.append)
    assert same.bundle is conversion.bundle and same.fallback is None
    assert any("int8 is the better answer" in line for line in said)


def test_the_int8_model_can_be_left_out(two_bits: Conversion, tmp_path: Path) -> None:
    assert any(f"{len(two_bits.fallback.model):,} bytes" in line for line in two_bits.sentences())  # type: ignore[union-attr]
    alone = with_fallback(two_bits, is_asked=False)
    path = alone.whole_bundle.write(tmp_path / "few.graft")
    assert Bundle.open(path).fallback() is None
    assert not any("allback" in line for line in alone.sentences())


def test_few_bits_beside_another_precision_are_refused() -> None:
    with pytest.raises(UsageError, match="contradict"):
        check_precision("2bit", "float32")
