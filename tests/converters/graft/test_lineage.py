"""How far two networks run in step: up to the last layer that is alike, and not one further."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from onnx import helper

from multigraft.converters.graft.lineage import RELATED_COSINE, lineage
from multigraft.converters.network.network import CutPoint, Network
from tests.converters.graft.networks import GREY, model

LAYERS = 4
SIZE = (1, GREY.height, GREY.width)


def chain(
    name: str, weights: list[npt.NDArray[np.float32]], kernel: dict[int, int] | None = None, relu: int | None = None
) -> Network:
    """Convolutions without anything between them, so that each one's output is a cut point, and a classifier.

    Args:
        name: Of the network.
        weights: Of the convolutions.
        kernel: Layer to its kernel size, where it is not 3.
        relu: Layer that a ReLU follows.
    """
    kernels = [(kernel or {}).get(layer, 3) for layer in range(LAYERS)]
    constants = {f"w{i}": w[:, :, : kernels[i], : kernels[i]] for i, w in enumerate(weights)}
    nodes = [
        helper.make_node(
            "Conv",
            ["image" if i == 0 else f"c{i - 1}", f"w{i}"],
            ["before" if i == relu else f"c{i}"],
            kernel_shape=[kernels[i], kernels[i]],
            pads=[kernels[i] // 2] * 4,
        )
        for i in range(LAYERS)
    ]
    if relu is not None:
        nodes.insert(relu + 1, helper.make_node("Relu", ["before"], [f"c{relu}"]))
    nodes.append(helper.make_node("GlobalAveragePool", [f"c{LAYERS - 1}"], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "head"], ["logits"], transB=1))
    constants["head"] = np.eye(3, dtype=np.float32)
    return Network(name, model(nodes, constants, SIZE, {"logits": (3,)}), GREY)


def weights(seed: int = 0) -> list[npt.NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(3, 1 if i == 0 else 3, 3, 3)).astype(np.float32) for i in range(LAYERS)]


def labels(pairs: tuple[tuple[CutPoint, CutPoint], ...]) -> list[tuple[str, str]]:
    return [(donor.label, target.label) for donor, target in pairs]


PARENT = chain("parent", weights())


def test_every_layer_of_the_chain_is_a_cut_point() -> None:
    assert [p.label for p in PARENT.cut_points] == ["c0", "c1", "c2", "flat"]


@pytest.mark.parametrize("layer", range(3))
def test_layers_before_the_first_other_weight_are_equal_and_the_layer_itself_is_not(layer: int) -> None:
    changed = weights()
    changed[layer][0, 0, 0, 0] += 0.25
    found = lineage(PARENT, chain("child", changed))
    assert labels(found.equal) == [(f"c{i}", f"c{i}") for i in range(layer)]
    assert labels(found.related) == [("c0", "c0"), ("c1", "c1"), ("c2", "c2"), ("flat", "flat")]


@pytest.mark.parametrize("layer", range(3))
def test_nothing_from_the_first_other_structure_on_is_shared(layer: int) -> None:
    found = lineage(PARENT, chain("child", weights(), {layer: 1}))
    expected = [(f"c{i}", f"c{i}") for i in range(layer)]
    assert labels(found.equal) == expected
    assert labels(found.related) == expected
    assert found.cosine == pytest.approx(1.0 if layer else 0.0)


def test_cut_points_at_different_nodes_are_no_pair() -> None:
    """The ReLU keeps the target from a cut point at its second convolution, at which the donor has one."""
    found = lineage(PARENT, chain("child", weights(), relu=1))
    assert labels(found.equal) == labels(found.related) == [("c0", "c0")]


def test_networks_count_as_related_from_the_stated_cosine_on() -> None:
    assert RELATED_COSINE == 0.5

    def child(cosine: float) -> Network:
        """Every weight array turned by the angle of ``cosine``; the classifier keeps its own, of cosine 1."""
        turned = []
        for i, old in enumerate(weights()):
            across = np.random.default_rng(i + 9).normal(size=old.shape).astype(np.float64)
            across -= old * (old * across).sum() / (old * old).sum()
            across *= np.linalg.norm(old) / np.linalg.norm(across)
            turned.append((cosine * old + np.sqrt(1 - cosine**2) * across).astype(np.float32))
        return chain("child", turned)

    # Four convolutions and the classifier: (4 c + 1) / 5 = 0.5 at c = 0.375.
    for cosine, is_related in ((0.376, True), (0.374, False)):
        found = lineage(PARENT, child(cosine))
        assert found.cosine == pytest.approx((4 * cosine + 1) / 5, abs=1e-6)
        assert bool(found.related) == is_related and not found.equal


def test_another_preprocessing_shares_nothing() -> None:
    other = Network("other", PARENT.model, GREY.__class__(8, 8, "grey", (1.0,), (1 / 255,)))
    found = lineage(PARENT, other)
    assert (found.equal, found.related, found.cosine) == ((), (), 0.0)
