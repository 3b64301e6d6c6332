"""What goes through the codec comes back within half a step, and in the bytes that its header tells of."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multigraft.errors import InputError
from multigraft.runtime.offload.bit_depth import IN_TIME_TO_GROW, BitDepth
from multigraft.runtime.offload.bit_packing import pack_bits, packed_bytes, unpack_bits
from multigraft.runtime.offload.codec import BITS, Codec
from multigraft.runtime.offload.packet import Packet
from multigraft.runtime.offload.ranges import Ranges, by_model, by_percentile, lambert_w
from multigraft.tensors.quantisation import dequantise
from multigraft.tensors.specs import TensorSpec

SHAPES = st.sampled_from([(1, 1), (1, 9), (1, 5, 3), (1, 7, 5, 1), (1, 6, 7, 12), (1, 24, 24, 3)])


def stored(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    """Values that lean to one side, as behind a ReLU."""
    random = np.random.default_rng(seed)
    if dtype == "float32":
        return (random.normal(size=shape) ** 3).astype(np.float32)
    limits = np.iinfo(dtype)
    return (limits.min + random.exponential(40, shape)).clip(limits.min, limits.max).astype(dtype)


def spec_of(shape: tuple[int, ...], dtype: str) -> TensorSpec:
    return TensorSpec("trunk/relu", shape, dtype, *(() if dtype == "float32" else (0.037, -11)))


@settings(deadline=None)
@given(st.integers(1, 8), st.binary(max_size=70))
def test_codes_lie_side_by_side_from_the_lowest_bit_on(bits: int, values: bytes) -> None:
    codes = np.frombuffer(values, np.uint8) & np.uint8((1 << bits) - 1)
    packed = pack_bits(codes, bits)
    plain = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, :bits]
    assert packed.tolist() == np.packbits(plain.reshape(-1), bitorder="little").tolist()
    assert len(packed) == packed_bytes(len(codes), bits)
    assert unpack_bits(packed, bits, len(codes)).tolist() == codes.tolist()


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(["int8", "uint8", "float32"]), st.sampled_from(BITS), st.integers(0, 1000))
def test_a_value_between_the_ends_is_off_by_half_a_step_at_most(
    shape: tuple[int, ...], dtype: str, bits: int, seed: int
) -> None:
    spec, values = spec_of(shape, dtype), stored(shape, dtype, seed)
    codec = Codec.from_samples(spec, stored((3, *shape[1:]), dtype, seed + 1))
    packet = codec.packet(values, bits)
    real, top = dequantise(values, spec), packet.low + packet.step * np.float32((1 << bits) - 1)
    kept = np.clip(real, packet.low, top)
    back = codec.decode(codec.encode(values, bits))
    assert back.shape == shape
    assert (np.abs(back - kept) <= packet.step / 2 + 1e-5 * (1 + np.abs(real))).all()


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_eight_bits_of_a_quantised_tensor_lose_nothing(dtype: str) -> None:
    spec = spec_of((1, 16, 4, 4), dtype)
    every = np.arange(256, dtype=np.uint8).view(dtype).reshape(spec.shape)
    back = Codec.from_samples(spec, every).decode(Codec.from_samples(spec, every).encode(every, 8))
    np.testing.assert_allclose(back, dequantise(every, spec), rtol=1e-6, atol=1e-6)


def test_fewer_bits_take_fewer_bytes_and_zeros_hardly_any() -> None:
    spec = spec_of((1, 32, 32, 16), "int8")
    values = stored(spec.shape, "int8")
    codec = Codec.from_samples(spec, values)
    sizes = [len(codec.encode(values, bits)) for bits in BITS]
    assert sizes == sorted(sizes)
    nothing = np.full(spec.shape, -128, np.int8)
    assert len(codec.encode(nothing, 4)) < 1000


def test_what_does_not_get_smaller_travels_as_it_is() -> None:
    spec = TensorSpec("noise", (1, 64, 64, 1), "uint8", 1.0)
    noise = np.random.default_rng(0).integers(0, 256, spec.shape, np.uint8)
    raw = Codec.from_samples(spec, noise).encode(noise, 8)
    assert raw[10] == 0
    assert noise.tobytes() in raw


def test_a_packet_says_all_that_is_needed_to_read_it() -> None:
    spec = spec_of((1, 8, 8, 24), "int8")
    values = stored(spec.shape, "int8")
    codec = Codec.from_samples(spec, values)
    packet = Packet.from_bytes(codec.encode(values, 5))
    assert (packet.tensor, packet.shape, packet.bits) == ("trunk/relu", spec.shape, 5)
    np.testing.assert_array_equal(packet.values(), codec.packet(values, 5).values())


def test_the_documented_bytes() -> None:
    """The layout that docs/offload.md tells of, put together by hand."""
    codes = np.array([1, 2, 3, 0, 3, 3], np.uint8)
    packet = Packet.of("t", (1, 3, 2), 2, np.array([0.5], np.float32), np.array([0.25], np.float32), codes)
    rest = bytes.fromhex("01 02 00 03 0100 01000000 02000000 01000000 03000000 02000000 74 0000003f 0000803e 39 0f")
    assert packet.to_bytes() == b"MGRP" + zlib.crc32(rest).to_bytes(4, "little") + rest
    assert Packet.from_bytes(packet.to_bytes()).values().tolist() == [[[0.75, 0.5], [1.0, 1.25], [1.25, 1.25]]]


def test_ends_of_a_relu_begin_at_zero() -> None:
    samples = np.maximum(np.random.default_rng(0).normal(size=(8, 10, 10, 4)), 0)
    for ranges in (by_percentile(samples), by_model(samples, 4)):
        assert ranges.low.tolist() == [0] * 4
        assert (ranges.high > 1).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_the_model_finds_the_end_that_costs_least(bits: int) -> None:
    """On a Laplacian, against a search over ends."""
    samples = np.random.default_rng(3).laplace(scale=0.7, size=(1, 200_000, 1))

    def cost(end: float) -> float:
        step = 2 * end / ((1 << bits) - 1)
        back = np.clip(np.rint((samples + end) / step), 0, (1 << bits) - 1) * step - end
        return float(((back - samples) ** 2).mean())

    found = by_model(samples, bits)
    best = min(cost(end) for end in np.linspace(0.5, 8, 200))
    assert cost(float(found.high[0])) < 1.05 * best


def test_lambert_w_solves_its_equation() -> None:
    for x in (1e-3, 1.0, 27.0, 780300.0):
        w = lambert_w(x)
        assert w * np.exp(w) == pytest.approx(x)


@pytest.mark.parametrize(
    ("spec", "given_", "said"),
    [
        (TensorSpec("t", (1, 4), "int32", 1.0), np.zeros((1, 4), np.int32), "cannot be sent"),
        (TensorSpec("t", (2, 4), "int8", 1.0), np.zeros((2, 4), np.int8), "cannot be sent"),
        (TensorSpec("t", (1, 4), "int8", 1.0), np.zeros((1, 5), np.int8), "shape"),
        (TensorSpec("t", (1, 4), "float32"), np.full((1, 4), np.nan, np.float32), "no number"),
    ],
)
def test_what_cannot_be_coded_is_refused_in_a_sentence(spec: TensorSpec, given_: Any, said: str) -> None:
    ranges = Ranges(np.zeros(1, np.float32), np.ones(1, np.float32))
    with pytest.raises(InputError, match=said):
        Codec(spec, lambda bits: ranges).encode(given_, 4)


def test_bits_follow_the_link_down_at_once_and_up_slowly() -> None:
    depth = BitDepth(0.1)
    depth.missed()
    assert depth.bits == 4
    depth.answered(0.2)
    assert depth.bits == 3
    for _ in range(IN_TIME_TO_GROW - 1):
        depth.answered(0.01)
    assert depth.bits == 3
    depth.answered(0.01)
    assert depth.bits == 4
    for _ in range(10):
        depth.missed()
    assert depth.bits == 2
    for _ in range(1000):
        depth.answered(0.099)
    assert depth.bits == 2
