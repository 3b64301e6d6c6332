"""What a layer becomes: binary operators, run by both interpreters to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from multigraft.converters.conversion.interpreters import Runner, available, tapped
from multigraft.converters.low_bit.fit import Fitting
from multigraft.converters.one_bit.bases import Bases
from multigraft.converters.one_bit.layer import Signed, candidates, with_signs
from multigraft.converters.one_bit.signs_of_values import Cuts
from multigraft.converters.quantising.layer_error import stored
from multigraft.runtime.delegate.library import KERNELS
from multigraft.tensors.arrays import Array
from multigraft.tflite import tflite_file
from multigraft.tflite.checking.check import check_tflite
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder, feeds
from tests.converters.low_bit.networks import fitting, network
from tests.converters.one_bit.networks import one_layer


def drawn(fit: Fitting, bases: int, seed: int = 0) -> Signed:
    """Cuts and weights at random."""
    (layer,) = candidates(fit.int8, list(fit.layers))
    (outputs, inputs), channels = layer.shape(fit.int8), fit.int8.tensors[layer.linear.source].shape[-1]
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1, 1], (bases, outputs, inputs)).astype(np.int8)
    cuts = Cuts(rng.integers(-200, 200, channels), np.ones(channels))
    multipliers = rng.normal(0, 1 / np.sqrt(inputs), (bases, outputs))
    return Signed(cuts, Bases(signs, multipliers, np.zeros(outputs)), rng.normal(0, 0.5, outputs))


def reference(fit: Fitting, graph: Graph, source: Array, signed: Signed) -> Array:
    """The layer by numpy, as int8 before rounding."""
    (layer,) = candidates(fit.int8, list(fit.layers))
    read, write = fit.int8.tensors[layer.linear.source].quant, graph.tensors["layer"].quant
    assert read is not None and write is not None
    steps = (source.astype(np.int64) - read.zero_points[0]).astype(np.float32)
    signs = signed.cuts.signs(layer.rows(steps, np.arange(layer.positions(fit.int8)), -1)).astype(np.float64)
    sums = np.einsum("ri,boi->bro", signs, signed.bases.signs.astype(np.float64))
    values = (sums * signed.bases.multipliers.astype(np.float32)[:, None]).sum(0) + signed.bias.astype(np.float32)
    low, high = layer.clamp or (-np.inf, np.inf)
    result: Array = (values.clip(low, high) / write.scales[0] + write.zero_points[0]).clip(-128, 127)
    return result


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(1, 70),
    st.integers(1, 40),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 2]),
    st.sampled_from(["SAME", "VALID"]),
    st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]),
    st.sampled_from(["NONE", "RELU"]),
    st.integers(0, 1000),
)
@pytest.mark.parametrize("backend", available())
@pytest.mark.parametrize("bases", [1, 2])
def test_interpreters_compute_it_to_the_last_bit(
    backend: str,
    bases: int,
    size: tuple[int, int],
    channels: int,
    outputs: int,
    kernel: int,
    stride: int,
    dilation: int,
    padding: str,
    activation: str,
    before: str,
    seed: int,
) -> None:
    assume(padding == "SAME" or min(size) >= (kernel - 1) * dilation + 1)
    assume(stride == 1 or dilation == 1)
    fit = one_layer(size, channels, outputs, kernel, stride, padding, activation, dilation, before, frames=2)
    (layer,) = candidates(fit.int8, list(fit.layers))
    signed = drawn(fit, bases, seed)
    graph = with_signs(fit.int8, layer, signed)
    content = tapped(graph, [layer.linear.source, "layer"])
    check_tflite(content, "the model")
    assert tflite_file.write(tflite_file.read(content)) == content
    runner = Runner(content, backend)
    for feed in feeds(fit.floating, 2, seed=5):
        given = runner(stored(feed, graph))
        wanted = reference(fit, graph, given[layer.linear.source], signed)
        assert np.abs(given["layer"].reshape(wanted.shape) - wanted).max() <= 0.5 + 1e-3


def test_convolutions_between_the_first_and_the_last_can_have_1_bit() -> None:
    fit = fitting(network(), 4)
    assert [one.name for one in candidates(fit.int8, list(fit.layers))] == ["wide", "narrow", "down", "deep"]
    b = GraphBuilder()
    first = b.conv("first", b.input("image", 1, 6, 6, 3), 8)
    other = b.conv("other", b.input("beside", 1, 6, 6, 3), 8)
    total = b.op("ADD", "total", [first, other], (1, 6, 6, 8), fused_activation_function="NONE")
    fit = fitting(b.graph(b.conv("a", b.conv("middle", total, 8), 4), b.conv("b", total, 4)), 4)
    assert [one.name for one in candidates(fit.int8, list(fit.layers))] == ["middle"]


_ANSWERS = """
import sys
import numpy as np
from multigraft.converters.conversion.interpreters import Runner
from multigraft.tflite import tflite_file
content = open(sys.argv[1], "rb").read()
graph = tflite_file.read(content).subgraphs[0]
runner = Runner(content, sys.argv[2])
rng = np.random.default_rng(0)
given = {n: rng.integers(-128, 128, graph.tensors[n].shape, np.int8) for n in graph.inputs}
print([v.tobytes().hex() for v in runner(given).values()])
"""


@pytest.mark.parametrize("backend", available())
def test_every_kernel_gives_the_same_int8(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    fit = one_layer()
    (layer,) = candidates(fit.int8, list(fit.layers))
    for bases in (1, 2):
        path.write_bytes(tapped(with_signs(fit.int8, layer, drawn(fit, bases)), ["layer", "classes"]))
        answers = {
            kernels: subprocess.run(
                [sys.executable, "-c", _ANSWERS, str(path), backend],
                env={k: v for k, v in os.environ.items() if k != KERNELS} | ({KERNELS: kernels} if kernels else {}),
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for kernels in ("", "portable")
        }
        assert answers[""] == answers["portable"] != ""
