"""Models that are damaged, or made to do harm: each is refused in one sentence, or becomes firmware; nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multigraft.bundle.bundle import MODEL, Bundle
from multigraft.cli.main import main
from multigraft.errors import InputError, MultigraftError, UnsupportedOperatorError
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.inspection.reference import golden_vectors
from multigraft.firmware_gen.program.program import load
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Quant
from tests.bundle_builder import build
from tests.firmware_gen.models import activation, remembering, residual, single, two_heads
from tests.firmware_gen.operators.test_operators import MODELS

Damage = Callable[[Graph], Graph]
MUTANTS_PER_MODEL = 12


def damaged(model: bytes, damage: Damage) -> bytes:
    read = tflite_file.read(model)
    return tflite_file.write(replace(read, subgraphs=(damage(read.main), *read.subgraphs[1:])))


def tensor(name: str, **changes: object) -> Damage:
    """One tensor changed."""

    def change(graph: Graph) -> Graph:
        return replace(graph, tensors={**graph.tensors, name: replace(graph.tensors[name], **changes)})  # type: ignore[arg-type]

    return change


def scales(name: str, *values: float, axis: int = 0) -> Damage:
    return tensor(name, quant=Quant(values, (0,) * len(values), axis))


def operator(number: int, **changes: object) -> Damage:
    """One operator changed."""

    def change(graph: Graph) -> Graph:
        ops = list(graph.ops)
        ops[number] = replace(ops[number], **changes)  # type: ignore[arg-type]
        return replace(graph, ops=tuple(ops))

    return change


def in_reverse(graph: Graph) -> Graph:
    return replace(graph, ops=graph.ops[::-1])


def _of_three(graph: Graph) -> Graph:
    number = next(i for i, op in enumerate(graph.ops) if op.name == "ADD")
    first, second = graph.ops[number].inputs
    return operator(number, inputs=(first, second, second))(graph)


GRAPHS: dict[str, tuple[Damage, str]] = {
    "operators out of order": (in_reverse, "before it is written"),
    "an operator reads what it writes": (operator(1, inputs=("second", "second/w")), "'second' before it is written"),
    "a tensor written twice": (operator(2, outputs=("second",)), "'second', which has its value already"),
    "a constant written": (operator(0, outputs=("second/w",)), "'second/w', which has its value already"),
    "the input written": (operator(0, outputs=("image",)), "'image', which has its value already"),
    "an operator without inputs": (operator(1, inputs=()), "CONV_2D lacks an input or an output"),
    "an operator without outputs": (operator(1, outputs=()), "CONV_2D lacks an input or an output"),
    "an operator without its weights": (operator(1, inputs=("first",)), "lacks input 1"),
    "an operator with more inputs than it takes": (
        operator(1, inputs=("first", "second/w", "second/b", "second/b")),
        "CONV_2D has 4 inputs and 1 outputs, more than it takes",
    ),
    "a sum of three": (_of_three, "ADD has 3 inputs and 1 outputs, more than it takes"),
    "an output that nothing writes": (lambda g: replace(g, ops=g.ops[:-1]), "'answer' is written by no operator"),
    "an input that is a constant": (lambda g: replace(g, inputs=("first/w",)), "'first/w' is no tensor to be filled"),
    "an input given twice": (lambda g: replace(g, inputs=("image", "image")), "'image' is no tensor to be filled"),
    "a negative dimension": (tensor("first", shape=(1, -12, 12, 8)), "is not static"),
    "a dimension of 0": (tensor("first", shape=(1, 0, 12, 8)), "is not static"),
    "a tensor of 16 TiB": (tensor("first", shape=(1, 1 << 20, 1 << 20, 16)), "takes 17592186044416 bytes"),
    "a scale of 0": (scales("first", 0.0), "'first' has a scale of 0;"),
    "a negative scale": (scales("first", -0.5), "a scale that is no positive number"),
    "a scale that is no number": (scales("first", float("nan")), "a scale that is no positive number"),
    "an infinite scale": (scales("first", float("inf")), "a scale that is no positive number"),
    "a zero point that is no int8": (tensor("first", quant=Quant((0.05,), (128,))), "a zero point that is no int8"),
    "fewer zero points than scales": (
        tensor("first", quant=Quant((0.1, 0.1), (0,), 3)),
        "2 scales, which do not fit its shape",
    ),
    "more scales than channels": (scales("second/w", *[0.01] * 9), "9 scales, which do not fit its shape"),
    "scales along an axis that is not there": (
        scales("second/w", *[0.01] * 8, axis=4),
        "8 scales, which do not fit its shape",
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_is_none_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, says = GRAPHS[name]
    path = tmp_path / "model.tflite"
    path.write_bytes(damaged(residual(), damage))
    assert main(["firmware", str(path), "--board", "mps2-an386", "-o", str(tmp_path / "fw")]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "fw").exists()


def constant(name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> Damage:
    return tensor(name, data=values, shape=values.shape)


def short_bias(graph: Graph) -> Graph:
    """A bias of seven numbers with as many scales, behind eight output channels."""
    bias = graph.tensors["out/b"]
    assert bias.quant is not None
    quant = Quant(bias.quant.scales[:7], bias.quant.zero_points[:7], bias.quant.axis)
    return tensor("out/b", quant=quant)(constant("out/b", np.zeros(7, np.int32))(graph))


OPERATORS: dict[str, tuple[str, Damage, str]] = {
    "conv of another size": ("conv 3x3", tensor("out", shape=(1, 8, 6, 8)), "height and width"),
    "conv of stride 0": ("conv 3x3", operator(0, options={"stride_h": 0, "padding": "SAME"}), "height and width"),
    "conv of other channels": ("conv 3x3", tensor("in", shape=(1, 7, 6, 4)), "all input channels"),
    "depthwise of other channels": ("depthwise", tensor("in", shape=(1, 7, 6, 3)), "multiple of"),
    "conv of a short bias": ("conv 3x3", short_bias, "one number per output channel"),
    "conv of two scales": ("conv 3x3", scales("out/w", 0.1, 0.1, 0.1, axis=1), "one per output channel"),
    "dense of other rows": ("dense", tensor("in", shape=(1, 36)), "units x depth"),
    "pool of other channels": ("max pool", tensor("out", shape=(1, 4, 4, 6)), "equally many channels"),
    "pool without a window": ("max pool", operator(0, options={"filter_height": -3}), "height and width"),
    "mean of other channels": ("mean", tensor("out", shape=(1, 7)), "the output's shape"),
    "relu of another shape": ("relu", tensor("out", shape=(1, 16, 15)), "same shape"),
    "softmax of another shape": ("softmax", tensor("out", shape=(2, 14)), "same shape"),
    "softmax of a tiny scale": ("softmax", scales("in", 1e-9), "2^-26 or more"),
    "logistic of a tiny scale": ("logistic", scales("in", 1e-9), "2^-27 or more"),
    "pad of another shape": ("pad", tensor("out", shape=(1, 7, 8, 5)), "the output's shape"),
    "pad of less": ("pad", constant("paddings", np.array([[0, 0], [-1, 2], [0, 3], [1, 0]], np.int32)), "not negative"),
    "transpose of one axis twice": ("transpose", constant("order", np.array([0, 1, 1, 2], np.int32)), "permutation"),
    "transpose of an axis that is not there": (
        "transpose",
        constant("order", np.array([0, 3, 1, 4], np.int32)),
        "permutation",
    ),
    "concatenation along no axis": ("concatenation", operator(0, options={"axis": 7}), "the axis has to be one"),
    "concatenation of other sizes": ("concatenation", tensor("a", shape=(1, 3, 5, 2)), "sizes have to add up"),
    "slice of another size": ("strided slice", tensor("out", shape=(1, 3, 2, 3)), "as many elements"),
    "slice of too few bounds": ("strided slice", constant("end", np.array([1, 6], np.int32)), "equally many"),
    "resize of other channels": ("resize", tensor("out", shape=(1, 10, 8, 4)), "equally many channels"),
    "transposed conv of another size": ("transposed conv", tensor("out", shape=(1, 9, 12, 6)), "of the size"),
    "reshape of another size": ("reshape", tensor("out", shape=(1, 61)), "equally many elements"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_whose_tensors_do_not_fit_is_refused(name: str) -> None:
    of, damage, says = OPERATORS[name]
    with pytest.raises(UnsupportedOperatorError) as caught:
        generate(damaged(MODELS[of](), damage), core=M3)
    assert says in caught.value.problem


@pytest.mark.parametrize("alpha", [float("nan"), float("inf")])
def test_an_option_that_is_no_number_is_refused(alpha: float) -> None:
    ends = activation("in", (1, 4)), activation("out", (1, 4))
    with pytest.raises(InputError, match="not a finite number"):
        generate(single("LEAKY_RELU", [ends[0]], ends[1], alpha=alpha), core=M3)


@pytest.mark.parametrize(("code", "whose"), [("ethos-u", "an Ethos-U"), ("edgetpu-custom-op", "an Edge TPU")])
def test_models_that_were_compiled_for_another_processor_are_told(code: str, whose: str) -> None:
    def compiled(graph: Graph) -> Graph:
        """Its scratch memory is an input that nothing writes."""
        return operator(0, name="CUSTOM", custom_code=code, inputs=(graph.ops[-1].outputs[0],))(graph)

    with pytest.raises(InputError, match=f"the model was compiled for {whose}.*; give the model as it was before that"):
        generate(damaged(residual(), compiled), core=M3)


def test_variables_without_a_handle_are_refused() -> None:
    read = tflite_file.read(remembering())
    number = [op.name for op in read.main.ops].index("READ_VARIABLE")
    for damage in (operator(number, inputs=()), operator(number, outputs=())):
        with pytest.raises(InputError, match="READ_VARIABLE lacks an input or an output"):
            generate(damaged(remembering(), damage), core=M3)
    with pytest.raises(InputError, match="calls subgraph 1, which is not there"):
        generate(tflite_file.write(replace(read, subgraphs=(read.main,))), core=M3)


def test_segments_that_do_not_follow_on_each_other_are_refused() -> None:
    read = tflite_file.read(two_heads()[0])
    trunk, first, second = read.signatures
    for signatures, says in (
        ((first, trunk, second), "reads 'features' before it is written"),
        ((trunk, trunk, first), "two signatures have one name"),
    ):
        with pytest.raises(InputError, match=says):
            generate(tflite_file.write(replace(read, signatures=signatures)), core=M3)


def test_a_bundle_whose_manifest_does_not_fit_its_model_is_refused() -> None:
    bundle = build().bundle
    trunk, *heads = bundle.manifest.segments
    misnamed = replace(trunk, inputs={"nobody": next(iter(trunk.inputs.values()))})
    task = replace(bundle.manifest.tasks[0], outputs=("nothing",))
    for manifest, says in (
        (replace(bundle.manifest, segments=(misnamed, *heads)), "has no argument 'nobody'"),
        (replace(bundle.manifest, tasks=(task,)), "the answer 'nothing' of task 'garment' is not written"),
    ):
        with pytest.raises(InputError, match=says):
            generate(Bundle(manifest, {MODEL: bundle.model}), core=M3)


def mutants(model: bytes, seed: int) -> list[bytes]:
    """The model with some bytes and words changed to what indices, sizes and scales are attacked with."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(MUTANTS_PER_MODEL):
        content = bytearray(model)
        for _ in range(int(random.integers(1, 4))):
            at = int(random.integers(8, len(content) - 4))
            words = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\x07\0\0\0", b"\0\0\0\x80")
            if random.integers(2):
                content[at] ^= 1 << int(random.integers(8))
            else:
                content[at & ~3 : (at & ~3) + 4] = words[int(random.integers(len(words)))]
        made.append(bytes(content))
    return made


FUZZED: dict[str, Callable[[], bytes]] = {
    **MODELS,
    "residual": lambda: residual(size=8),
    "two heads": lambda: two_heads()[0],
    "state": remembering,
}


@pytest.mark.parametrize("name", FUZZED)
def test_a_mutant_becomes_firmware_or_is_refused(name: str) -> None:
    for model in mutants(FUZZED[name](), len(name)):
        try:
            generate(model, core=M3)
            golden_vectors(load(model), 2)
        except MultigraftError as error:
            assert error.problem
