"""The codec of one tensor: its ranges at every number of bits, of which any may be asked for from frame to frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from multigraft.errors import InputError
from multigraft.runtime.offload.packet import Packet
from multigraft.runtime.offload.quantiser import Quantiser
from multigraft.runtime.offload.ranges import FEWEST_BITS, MOST_BITS, Ranges, by_model, by_percentile
from multigraft.tensors.arrays import Array, Float32Array
from multigraft.tensors.quantisation import dequantise
from multigraft.tensors.specs import TensorSpec

BITS = tuple(range(FEWEST_BITS, MOST_BITS + 1))
MODELLED_BITS = 3
"""Up to so many bits the model's narrower ends keep more answers than percentiles do."""
RANGES_SHARE = 0.05
"""Ranges of single channels may be this share of the packed codes at 2 bits; beyond it one serves all of them."""


class Codec:
    """Codes one tensor.

    Args:
        spec: The tensor as the edge holds it.
        ranges: Bits to the ends between which values are coded.

    Raises:
        InputError: The tensor cannot be sent, or the ranges do not fit it.
    """

    def __init__(self, spec: TensorSpec, ranges: Callable[[int], Ranges]) -> None:
        self.spec = spec
        self._quantisers = {bits: self._quantiser(ranges, bits) for bits in BITS}

    @classmethod
    def from_samples(cls, spec: TensorSpec, samples: Array) -> Codec:
        """One whose ranges come from frames.

        Args:
            spec: The tensor.
            samples: Stored values of some frames, (frames, ...) of the tensor's dtype: its shape, or that without 1.

        Raises:
            InputError: There are no samples, or the tensor cannot be sent.
        """
        if not len(samples) or samples.size % np.prod(spec.shape):
            raise InputError(f"samples of tensor {spec.name} have shape {samples.shape}", f"give {spec.shape} a frame")
        real = dequantise(samples.reshape(-1, *spec.shape[1:]), spec)
        per_channel = has_ranges_of_channels(spec)
        wide = by_percentile(real, per_channel=per_channel)
        return cls(spec, lambda bits: by_model(real, bits, per_channel) if bits <= MODELLED_BITS else wide)

    def _quantiser(self, ranges: Callable[[int], Ranges], bits: int) -> Quantiser:
        if bits == MOST_BITS and self.spec.dtype in ("int8", "uint8"):
            return Quantiser.exact(self.spec)
        return Quantiser(self.spec, ranges(bits), bits)

    def packet(self, stored: Array, bits: int) -> Packet:
        """A frame's values, coded.

        Args:
            stored: As the tensor holds them.
            bits: 2 to 8; at 8 a tensor of bytes loses nothing.

        Raises:
            InputError: They do not fit the tensor, or there is no such number of bits.
        """
        quantiser = self._quantisers.get(bits)
        if quantiser is None:
            raise InputError(f"{bits} bits were asked for", f"give {FEWEST_BITS} to {MOST_BITS}")
        codes = quantiser.codes(stored)
        return Packet.of(self.spec.name, self.spec.shape, bits, quantiser.low, quantiser.step, codes)

    def encode(self, stored: Array, bits: int) -> bytes:
        """As :meth:`packet`, in bytes."""
        return self.packet(stored, bits).to_bytes()

    def decode(self, raw: bytes) -> Float32Array:
        """Real values of a packet of this tensor, float32 of its shape.

        Raises:
            InputError: It is damaged, or of another tensor.
        """
        packet = Packet.from_bytes(raw, int(np.prod(self.spec.shape)))
        if packet.tensor != self.spec.name or packet.shape != self.spec.shape:
            raise InputError(
                f"a packet holds tensor {packet.tensor} of shape {list(packet.shape)}",
                f"send {self.spec.name} of shape {list(self.spec.shape)}",
            )
        return packet.values()


def has_ranges_of_channels(spec: TensorSpec) -> bool:
    """Whether channels of a tensor get a range each: where those weigh little beside the codes."""
    places = int(np.prod(spec.shape[:-1]))
    return RANGES_SHARE * places * FEWEST_BITS / 8 >= 8
