"""From a multi-task ONNX graph to a bundle, with the real onnx2tf."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from multigraft.bundle.bundle import Bundle
from multigraft.bundle.manifest import Task
from multigraft.cli.main import main
from multigraft.converters.conversion.boundary_tensors import OnnxRunner
from multigraft.converters.conversion.interpreters import available
from multigraft.converters.conversion.onnx2tf import to_tflite
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.demo.data import demo_folder
from multigraft.converters.network.frames import Frame
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.packing.convert import convert, pixel_range
from multigraft.converters.packing.finishing import Conversion
from multigraft.errors import ConversionError, InputError, UsageError
from multigraft.runtime import Engine
from multigraft.tensors.preprocessing import Preprocessing, prepare_batch
from multigraft.tflite import tflite_file
from tests.converters.onnx_builder import OnnxBuilder

COLOR = Preprocessing(16, 12, "rgb", (120.0, 115.0, 100.0), (0.02, 0.02, 0.02))
GREY = Preprocessing(20, 20, "grey", (0.0,), (1 / 255,))


def many_operators() -> MultiTaskModel:
    """``kind`` (classification) and ``map`` (segmentation) on a trunk, and ``apart`` with an input of its own.

    Holds strided, depthwise and transposed convolutions, a lone pad that SAME equals, a residual sum, a concatenation,
    a resize, global pooling and fully connected layers.
    """
    b = OnnxBuilder(5)
    x = b.input("color/image", 3, 16, 12)
    b.constant("pads", np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64))
    padded = b.add("Pad", "padded", x, "pads")
    first = b.weights("first.weight", 8, 3, 3, 3)
    y = b.add("Relu", "/first/Relu_output_0", b.add("Conv", "first", padded, first, channels=8, strides=[2, 2]))
    z = b.conv_relu("depthwise", y, 8, group=8)
    trunk = b.add("Add", "/trunk/Add_output_0", y, z)
    side = b.conv_relu6("side", trunk, 4, 1)
    joined = b.add("Concat", "joined", trunk, side, axis=1, channels=12)
    kind = b.classifier("kind/logits", joined, 5)
    up = b.weights("up.weight", 8, 6, 2, 2)
    wide = b.add("ConvTranspose", "wide", b.conv_relu("narrow", trunk, 8, 3, 2), up, channels=6, strides=[2, 2])
    b.constant("roi", np.array([], np.float32))
    b.constant("scales", np.array([1, 1, 2, 2], np.float32))
    big = b.add("Resize", "big", wide, "roi", "scales", mode="linear", coordinate_transformation_mode="half_pixel")
    classes = b.conv("map/classes", big, 3)
    apart = b.classifier("apart/logits", b.conv_relu("alone", b.input("grey/image", 1, 20, 20), 6, 3, 2), 4)
    cut = "/trunk/Add_output_0"
    return MultiTaskModel(
        b.model(kind, classes, apart),
        {"color/image": COLOR, "grey/image": GREY},
        (
            SegmentSpec("trunk", ("color/image",), (cut,)),
            SegmentSpec("head_kind", (cut,), (kind,)),
            SegmentSpec("head_map", (cut,), (classes,)),
            SegmentSpec("head_apart", ("grey/image",), (apart,)),
        ),
        (
            Task("kind", "classification", (kind,), ("trunk", "head_kind"), relation="donor"),
            Task("map", "segmentation", (classes,), ("trunk", "head_map"), relation="relative", donor="kind"),
            Task("apart", "classification", (apart,), ("head_apart",)),
        ),
        {"sources": {"kind": "a digest"}},
    )


def frames(preprocessing: Preprocessing, count: int, seed: int = 0) -> list[Frame]:
    """Smooth random pictures."""
    rng = np.random.default_rng(seed)
    shape = (preprocessing.height // 4, preprocessing.width // 4, 3)[: 2 if preprocessing.color == "grey" else 3]
    coarse = rng.integers(0, 256, (count, *shape), np.uint8)
    return list(coarse.repeat(4, axis=1).repeat(4, axis=2))


@pytest.fixture(scope="module")
def conversion(onnx2tf_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    given = {"color/image": frames(COLOR, 24), "grey/image": frames(GREY, 24)}
    work = tmp_path_factory.mktemp("work")
    return convert(many_operators(), given, name="many", work_dir=work, keep_float=["map/classes"])


def test_everything_is_verified_on_every_interpreter(conversion: Conversion) -> None:
    verification = conversion.verification
    assert verification.inputs >= 200 and verification.mismatches == 0 and not verification.refused
    assert tuple(verification.backends) == available()
    assert max(verification.float_error.values()) < 2e-6 and verification.float_inputs == 8
    assert set(conversion.agreement) == {"kind", "map", "apart"}
    assert min(a.value for a in conversion.agreement.values()) > 0.9
    assert conversion.layer_error.worst is not None


def test_the_bundle_opens_and_its_manifest_tells_the_tensors_apart(conversion: Conversion, tmp_path: Path) -> None:
    manifest = Bundle.open(conversion.bundle.write(tmp_path / "many.graft")).manifest
    tensors = {t.name: t for t in manifest.tensors}
    assert {n: (t.shape, t.dtype) for n, t in tensors.items()} == {
        "color/image": ((1, 16, 12, 3), "int8"),
        "grey/image": ((1, 20, 20, 1), "int8"),
        "/trunk/Add_output_0": ((1, 8, 6, 8), "int8"),
        "kind/logits": ((1, 5), "int8"),
        "map/classes": ((1, 16, 12, 3), "float32"),
        "apart/logits": ((1, 4), "int8"),
    }
    assert tensors["grey/image"].scale == pytest.approx(1 / 255) and tensors["grey/image"].zero_point == -128
    precisions = {s.name: s.precision for s in manifest.segments}
    assert precisions == {"trunk": "int8", "head_kind": "int8", "head_map": "int8+float32", "head_apart": "int8"}
    assert manifest.segment("trunk").macs == 8 * 6 * 8 * (27 + 9)
    assert manifest.task("map").fidelity["quantised_agreement"]["frames"] == 24
    assert manifest.provenance["sources"] == {"kind": "a digest"}
    assert manifest.provenance["tools"]["onnx2tf"]
    assert "| head_map | int8+float32 |" in conversion.bundle.read("MODEL_CARD.md").decode()


def test_waste_is_gone(conversion: Conversion) -> None:
    counts = {s.name: s.operators for s in conversion.bundle.manifest.segments}
    assert "TRANSPOSE" not in {op for operators in counts.values() for op in operators}
    assert "PAD" not in counts["trunk"]


def test_the_engine_runs_it_and_passes_the_golden_inputs_exactly(conversion: Conversion) -> None:
    engine = Engine(conversion.bundle)
    assert engine.self_test is not None and engine.self_test.exact and engine.self_test.cases >= 3


def test_the_float_model_is_the_onnx_model(conversion: Conversion) -> None:
    graph = tflite_file.read(conversion.float_model).main
    multitask = many_operators()
    feed = {
        n: prepare_batch(frames(p, 1, seed=9), p) for n, p in multitask.inputs.items() if isinstance(p, Preprocessing)
    }
    truth = OnnxRunner(multitask.model, ["kind/logits", "map/classes"])(feed)
    from multigraft.converters.conversion.interpreters import Runner

    values = Runner(conversion.float_model)({n: np.ascontiguousarray(v.transpose(0, 2, 3, 1)) for n, v in feed.items()})
    np.testing.assert_allclose(values["kind/logits"], truth["kind/logits"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(values["map/classes"], truth["map/classes"].transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)
    assert set(graph.inputs) == {"color/image", "grey/image"}


def demo_pair() -> MultiTaskModel:
    """The demo's garment network with a second head: the rest of the worn network, which descends from it."""
    folder = demo_folder() / "networks"
    model, other = onnx.load(folder / "garment.onnx"), onnx.load(folder / "worn.onnx")
    cut = "/blocks/blocks.1/Relu_output_0"
    position = [n.output[0] for n in model.graph.node].index(cut)
    for node in other.graph.node[position + 1 :]:
        copy = model.graph.node.add()
        copy.CopyFrom(node)
        copy.name = f"worn/{node.name}"
        copy.input[:] = [i if i == cut else f"worn/{i}" for i in node.input]
        copy.output[:] = [f"worn/{o}" for o in node.output]
    for constant in other.graph.initializer:
        copy_of = model.graph.initializer.add()
        copy_of.CopyFrom(constant)
        copy_of.name = f"worn/{constant.name}"
    model.graph.output.append(helper.make_tensor_value_info("worn/logits", TensorProto.FLOAT, [1, 5]))
    return MultiTaskModel(
        model,
        {"image": Preprocessing(28, 28, "grey", (72.93,), (0.011109259568,))},
        (
            SegmentSpec("trunk", ("image",), (cut,)),
            SegmentSpec("head_garment", (cut,), ("logits",)),
            SegmentSpec("head_worn", (cut,), ("worn/logits",)),
        ),
        (
            Task("garment", "classification", ("logits",), ("trunk", "head_garment")),
            Task("worn", "classification", ("worn/logits",), ("trunk", "head_worn")),
        ),
    )


def test_the_command_converts_the_demo_networks(
    onnx2tf_environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = demo_folder()
    grafted, output = tmp_path / "pair.onnx", tmp_path / "pair.graft"
    demo_pair().save(grafted)
    source = f"{demo / 'garments.npz'}"
    arguments = ["convert", str(grafted), "--source", source, "--frames", "64", "-o", str(output)]
    code = main([*arguments, "--uncut", str(tmp_path / "uncut.tflite"), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    result = json.loads(captured.out)
    assert result["verification"]["mismatches"] == 0 and result["verification"]["inputs"] >= 200
    assert {s["name"] for s in result["segments"]} == {"trunk", "head_garment", "head_worn"}
    assert min(a["value"] for a in result["agreement"].values()) >= 0.95
    assert result["layer_error"]["worst"] in {layer["tensor"] for layer in result["layer_error"]["layers"]}
    uncut = tflite_file.read(tmp_path / "uncut.tflite").main
    weights = sum(s["weights_bytes"] for s in result["segments"])
    assert uncut.weights_bytes() <= weights < 1.01 * uncut.weights_bytes()
    assert Bundle.open(output).manifest.name == "pair"


def test_an_operator_without_counterpart_is_named_with_its_node(
    onnx2tf_environment: Environment, tmp_path: Path
) -> None:
    b = OnnxBuilder()
    y = b.conv_relu("conv", b.input("image", 2, 8, 8), 4)
    node = helper.make_node("Frobnicate", [y], ["out"], name="my_node", domain="com.example")
    info = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 4, 8, 8])
    graph = helper.make_graph([*b.nodes, node], "odd", b.inputs, [info], b.initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    with pytest.raises(ConversionError, match=r"(?i)frobnicate.*my_node"):
        to_tflite(model, onnx2tf_environment, tmp_path)


def test_contradictory_arguments_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs frames or ranges"):
        convert(many_operators(), {}, name="x", work_dir=tmp_path)
    with pytest.raises(UsageError, match="'elsewhere'"):
        convert(many_operators(), {"elsewhere": frames(GREY, 1)}, name="x", work_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_ranges_come_from_a_json_file_or_a_sentence_says_why_not(tmp_path: Path) -> None:
    from multigraft.cli.convert import read_ranges

    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text('{"a": [-1, 2.5]}')
    assert read_ranges(str(good)) == {"a": (-1.0, 2.5)}
    for text in ("", "[1]", '{"a": 1}', '{"a": [1, "x"]}'):
        bad.write_text(text)
        with pytest.raises(InputError, match="holds no ranges"):
            read_ranges(str(bad))
    with pytest.raises(InputError, match=r"none\.json does not exist"):
        read_ranges(str(tmp_path / "none.json"))
    with pytest.raises(InputError):
        read_ranges(str(tmp_path / "none.mgstats"))


def test_frames_are_read_for_all_inputs_or_for_one() -> None:
    from multigraft.cli.convert import read_frames

    one, two = "fake:8x8,grey,frames=3", "fake:4x4,grey,frames=2"
    shared = read_frames([one, f"b={two}"], {"a": GREY, "b": GREY}, 2)
    assert {n: (len(f), f[0].shape) for n, f in shared.items()} == {"a": (2, (8, 8)), "b": (2, (4, 4))}
    with pytest.raises(UsageError, match="two sources"):
        read_frames([one, two], {"a": GREY}, 2)
    with pytest.raises(UsageError, match="at least 1"):
        read_frames([one], {"a": GREY}, 0)


def test_a_grey_image_is_stored_without_loss() -> None:
    low, high = pixel_range(GREY)
    assert (low, high) == (0.0, 1.0)
    assert pixel_range(Preprocessing(1, 1, "rgb", (0, 10, 255), (1, -1, 2))) == (-510.0, 255.0)


def amplifying(rounds: int = 26) -> MultiTaskModel:
    """An answer, and one that multiplies rounding by millions on random pixels and is 0 on what a camera gives.

    A logistic map (May, Nature 261, 1976) of how much neighbouring pixels differ beyond what smooth scenes do.
    """
    b = OnnxBuilder(3)
    x = b.input("color/image", 3, 48, 48)
    b.constant("difference", np.array([[1, -1]] * 3, np.float32).reshape(3, 1, 1, 2))
    steps = b.add("Conv", "steps", x, "difference", channels=3, group=3)
    mean = b.add("GlobalAveragePool", "roughness", b.add("Mul", "squares", steps, steps, channels=3), channels=3)
    b.constant("usual", np.full((1, 3, 1, 1), 0.09, np.float32))
    b.constant("one", np.full((1, 3, 1, 1), 1.0, np.float32))
    b.constant("four", np.full((1, 3, 1, 1), 3.99, np.float32))
    z = b.add("Relu", "start", b.add("Sub", "beyond", mean, "usual", channels=3), channels=3)
    for number in range(rounds):
        left = b.add("Sub", f"left{number}", "one", z, channels=3)
        z = b.add("Mul", f"z{number}", b.add("Mul", f"both{number}", z, left, channels=3), "four", channels=3)
    pooled = b.add("GlobalAveragePool", "pooled", b.conv_relu("seen", x, 3), channels=3)
    answer = b.add("Add", "answer", pooled, z, channels=3)
    preprocessing = Preprocessing(48, 48, "rgb", (0.0,) * 3, (1 / 255,) * 3)
    return MultiTaskModel(
        b.model(answer),
        {"color/image": preprocessing},
        (SegmentSpec("all", ("color/image",), (answer,)),),
        (Task("net", "other", (answer,), ("all",)),),
    )


def test_rounding_that_random_pixels_amplify_refuses_no_network_that_comes_without_frames(
    onnx2tf_environment: Environment, tmp_path: Path
) -> None:
    conversion = convert(amplifying(), {}, precision="float32", name="net", work_dir=tmp_path)
    assert max(conversion.verification.float_error.values()) < 1e-5
    assert conversion.verification.float_inputs > 0
