"""A representation to codes of a few bits and back, channel after channel.

Channels come first in the codes, whatever the tensor's layout: neighbouring codes then are neighbouring places of one
channel, which compresses, and the order is that of ONNX. The error of a value between its channel's ends is at most
half a step.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from multigraft.errors import InputError
from multigraft.runtime.offload.bit_packing import Codes
from multigraft.runtime.offload.ranges import FEWEST_BITS, MOST_BITS, Ranges
from multigraft.tensors.arrays import Array, Float32Array
from multigraft.tensors.quantisation import dequantise
from multigraft.tensors.specs import TensorSpec

_BYTES = ("int8", "uint8")
MOST_AXES = 6


class Quantiser:
    """Codes the values of one tensor.

    Args:
        spec: The tensor, (1, ..., channels); int8, uint8 or float32.
        ranges: What of its values is kept; one pair, or one per channel.
        bits: 2 to 8.

    Attributes:
        low: Real value of code 0, float32, (channels,) or (1,).
        step: Between neighbouring codes, likewise.

    Raises:
        InputError: They do not fit each other.
    """

    def __init__(self, spec: TensorSpec, ranges: Ranges, bits: int) -> None:
        if not FEWEST_BITS <= bits <= MOST_BITS:
            raise InputError(f"{bits} bits were asked for", f"give {FEWEST_BITS} to {MOST_BITS}")
        if not can_travel(spec):
            raise InputError(
                f"tensor {spec.name} is {spec.dtype} of shape {spec.shape}, which cannot be sent",
                "cut where a tensor of int8, uint8 or float32 and of one frame lies",
            )
        self.spec, self.bits = spec, bits
        self.low, self.step = ranges.low, ranges.steps(bits)
        if len(self.low) not in (1, spec.shape[-1]):
            raise InputError(
                f"tensor {spec.name} has {spec.shape[-1]} channels and {len(self.low)} ranges",
                "give one range per channel, or one for all",
            )

    @classmethod
    def exact(cls, spec: TensorSpec) -> Quantiser:
        """One that loses nothing of a tensor of bytes: its codes are the stored values, from the least on."""
        stored = np.array([np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max], spec.dtype)
        low, high = dequantise(stored, spec)
        made = cls(spec, Ranges(np.array([low]), np.array([high])), MOST_BITS)
        made.step = np.array([spec.scale], np.float32)
        return made

    def codes(self, stored: Array) -> Codes:
        """Codes of the values.

        Args:
            stored: As the tensor holds them.

        Returns:
            uint8, (number of values,), channels first.

        Raises:
            InputError: The array does not fit the tensor, or holds what is no number.
        """
        if stored.shape != self.spec.shape or stored.dtype != self.spec.dtype:
            raise InputError(
                f"tensor {self.spec.name} is given as {stored.dtype} of shape {stored.shape}",
                f"give {self.spec.dtype} of shape {self.spec.shape}",
            )
        planes = np.ascontiguousarray(stored.reshape(-1, stored.shape[-1]).T)
        if self.spec.dtype not in _BYTES:
            if not np.isfinite(planes).all():
                raise InputError(f"tensor {self.spec.name} holds what is no number", "look at the network before it")
            return self._coded(planes).reshape(-1)
        tables = self._tables
        if len(tables) == 1:
            return np.frombuffer(planes.tobytes().translate(tables[0]), np.uint8)
        coded = (plane.tobytes().translate(table) for plane, table in zip(planes, tables, strict=True))
        return np.frombuffer(b"".join(coded), np.uint8)

    @functools.cached_property
    def _tables(self) -> list[bytes]:
        """Per range the code of every stored byte."""
        every = np.arange(256, dtype=np.uint8).view(self.spec.dtype)
        real = dequantise(every, self.spec)
        return [table.tobytes() for table in self._coded(np.tile(real, (len(self.low), 1)))]

    def _coded(self, planes: Float32Array) -> Codes:
        # A channel whose ends are one has no step: all of it is code 0.
        step = np.where(self.step > 0, self.step, np.inf)[:, None]
        steps = (planes - self.low[:, None]) / step
        np.rint(steps, out=steps)
        np.clip(steps, 0, (1 << self.bits) - 1, out=steps)
        coded: Codes = steps.astype(np.uint8)
        return coded


def can_travel(spec: TensorSpec) -> bool:
    """Whether the codec takes a tensor: one frame of bytes with a scale, or of float32."""
    is_real = spec.dtype == "float32" or (spec.dtype in _BYTES and spec.scale is not None)
    return is_real and 2 <= len(spec.shape) <= MOST_AXES and spec.shape[0] == 1


def real_values(codes: Codes, shape: tuple[int, ...], low: Float32Array, step: Float32Array) -> Float32Array:
    """What codes stand for.

    Args:
        codes: uint8, (number of values,), channels first.
        shape: Of the tensor, channels last.
        low: Value of code 0, per channel or for all.
        step: Between neighbouring codes, likewise.

    Returns:
        float32 of that shape.
    """
    channels = shape[-1]
    places = math.prod(shape[:-1])
    real = codes.reshape(channels, places).astype(np.float32)
    real *= step[:, None]
    real += low[:, None]
    return np.ascontiguousarray(real.T).reshape(shape)
