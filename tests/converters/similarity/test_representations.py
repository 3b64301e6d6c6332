"""Similarity of whole networks: same frames through each network's own preprocessing, within a memory bound."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from multigraft.converters.network.network import Network
from multigraft.converters.similarity.heatmap import short_label, write_heatmaps
from multigraft.converters.similarity.representations import (
    SimilarityTable,
    largest_minibatch,
    measure_similarity,
    union_of,
)
from multigraft.errors import InputError, UsageError
from multigraft.statistics.similarity import SimilaritySums
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.onnx_builder import OnnxBuilder

ROOT = Path(__file__).parents[3]
FRAMES = list(np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8))


def network(name: str, seed: int, size: int = 16, channels: tuple[int, ...] = (8, 8, 6), color: str = "rgb") -> Network:
    builder = OnnxBuilder(seed)
    grey = color == "grey"
    x = builder.input("image", 1 if grey else 3, size, size)
    for i, outputs in enumerate(channels):
        x = builder.conv_relu(f"block{i}", x, outputs, stride=1 + i % 2)
    model = builder.model(builder.classifier("logits", x, 4))
    per_channel = {"mean": (0.0,), "scale": (1 / 255,)} if grey else {}
    return Network(name, model, Preprocessing(size, size, color, **per_channel))  # type: ignore[arg-type]


def test_a_network_is_like_itself_and_less_like_another() -> None:
    networks = [network("a", 1), network("b", 1), network("c", 2)]
    table = measure_similarity(networks, FRAMES, minibatch=20)
    np.testing.assert_allclose(np.diag(table.between("a", "b")), 1, atol=1e-5)
    assert np.all(np.diag(table.between("a", "c")) < 0.99)
    assert table.networks == ("a", "b", "c")
    assert table.frames == 40 and table.minibatch == 20
    points = [p.name for p in networks[0].cut_points]
    assert list(table.points_of("a")) == points and points[0] == "a/block0"
    assert table(points[0], "b/block0") == pytest.approx(1, abs=1e-5)
    assert table("a/none", points[0]) == 0


def test_the_table_is_what_the_sums_of_all_representations_give() -> None:
    networks = [network("a", 1), network("b", 2, size=12, channels=(4, 4), color="grey")]
    taps = [p.name for n in networks for p in n.cut_points]
    sums = SimilaritySums(taps)
    values: dict[str, npt.NDArray[Any]] = {}
    for n in networks:
        values |= n.run(n.prepare(FRAMES), [p.name for p in n.cut_points])
    sums.add([values[t] for t in taps])
    table = measure_similarity(networks, FRAMES, minibatch=40)
    np.testing.assert_allclose(table.unbiased, sums.unbiased_cka(), atol=1e-6)
    np.testing.assert_allclose(table.biased, sums.biased_cka(), atol=1e-6)
    assert table.biased_between(taps[0], taps[-1]) == pytest.approx(sums.biased_cka()[0, -1], abs=1e-6)


def test_pooling_is_done_only_when_asked_and_said() -> None:
    networks = [network("a", 1), network("c", 2)]
    whole, pooled = (measure_similarity(networks, FRAMES, is_pooled=p) for p in (False, True))
    assert not whole.is_pooled and pooled.is_pooled
    assert pooled.to_json()["pooled"] is True
    assert not np.allclose(whole.unbiased, pooled.unbiased, atol=0.01)


def test_memory_bounds_the_minibatch_and_hardly_changes_the_figures() -> None:
    networks = [network("a", 1), network("c", 2)]
    small = 2 * 2**20
    assert 4 <= largest_minibatch(networks, small) < 40
    bounded = measure_similarity(networks, FRAMES * 4, memory_bytes=small)
    assert bounded.minibatch <= largest_minibatch(networks, small)
    with pytest.raises(UsageError, match="average representations over space"):
        measure_similarity(networks, FRAMES, memory_bytes=2**18)


def test_memory_is_bounded_whatever_the_number_of_frames() -> None:
    script = """
import resource
from multigraft.converters.similarity.representations import largest_minibatch, measure_similarity
from tests.converters.similarity.test_representations import FRAMES, network

networks = [network(name, seed, 64, (48, 48, 48, 48)) for name, seed in (("a", 1), ("b", 2))]
largest_minibatch(networks, 2**27)
measure_similarity([network("warm", 1)], FRAMES, minibatch=8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table = measure_similarity(networks, FRAMES * 12, memory_bytes=2**27, minibatch=480)
print(table.minibatch, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    minibatch, grown_kib = map(int, done.stdout.split())
    whole_kib = 480 * 4 * 48 * (64 * 64 + 2 * 32 * 32) // 1024
    assert minibatch < 80
    # The bound, and what BLAS and malloc keep for themselves.
    assert grown_kib < 2**17 + 2**17 < whole_kib


def test_the_union_takes_every_frame_once_and_the_tasks_in_turn() -> None:
    first, second = FRAMES[:6], [FRAMES[2], FRAMES[9], FRAMES[10]]
    union = union_of({"a": first, "b": second})
    numbers = [next(i for i, f in enumerate(FRAMES) if f is x) for x in union]
    assert sorted(numbers) == [0, 1, 2, 3, 4, 5, 9, 10]
    assert numbers[:3] == [0, 2, 1]
    assert len(union_of({"a": first, "b": second}, most=4)) == 4


def test_bad_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="too few"):
        measure_similarity([network("a", 1)], FRAMES[:3])
    with pytest.raises(InputError):
        measure_similarity([network("a", 1)], [*FRAMES[:6], np.zeros((4, 4, 7), np.uint8)])


def test_heat_maps_of_all_pairs_are_pictures_and_the_numbers_are_json(tmp_path: Path) -> None:
    networks = [network("a", 1), network("b", 2, channels=(4,) * 6), network("c", 3)]
    table = measure_similarity(networks, FRAMES)
    shared = {("b", "a"): ("b/block2", "a/block1")}
    maps = write_heatmaps(table, tmp_path, shared)
    assert set(maps) == {("a", "b"), ("a", "c"), ("b", "c")}
    assert maps["a", "b"].name == "similarity_a_b.png"
    for pair, path in maps.items():
        picture = Image.open(path)
        assert min(picture.size) > 200
        red = np.all(np.abs(np.asarray(picture.convert("RGB"), int) - [255, 0, 0]) < 3, axis=2).sum()
        assert (red > 100) == (pair == ("a", "b"))
    plain = json.loads(json.dumps(table.to_json()))
    assert np.array(plain["unbiased_cka"]).shape == (len(plain["cut_points"]),) * 2
    with pytest.raises(UsageError):
        write_heatmaps(table, tmp_path / "none")


def test_large_heat_maps_stay_readable(tmp_path: Path) -> None:
    names = [f"{n}/features/features.{i}/conv/Clip_output_0" for n in "ab" for i in range(60)]
    values = np.random.default_rng(0).random((120, 120))
    table = SimilarityTable(("a", "b"), tuple(names), values, values, 512, 128)
    picture = Image.open(write_heatmaps(table, tmp_path)["a", "b"])
    assert max(picture.size) < 4000

    assert short_label("net//stem/stem.2/Relu_output_0") == "stem/stem.2/Relu"
    long = short_label("net//features/features.10/conv/conv.1/conv.1.2/Clip_output_0")
    assert len(long) == 24 and long.endswith("conv.1.2/Clip")
