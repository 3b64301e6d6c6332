"""Which inputs of a bundle are made of sound, and what each feature is stored as."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.errors import InputError
from multigraft.firmware_gen.sounds.sound_files import SoundInput
from multigraft.sounds.front_end import UNITS_PER_NAT
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.quantisation import quantise
from multigraft.tflite.graph import Tensor


def sound_inputs(bundle: Bundle, inputs: Sequence[Tensor]) -> tuple[SoundInput, ...]:
    """The inputs that are made of sound, in the order of ``inputs``.

    Args:
        bundle: What the firmware is made of.
        inputs: Of the program that was loaded from it.

    Raises:
        InputError: An input is not int8.
    """
    preparations = {source.tensor: source.preprocessing for source in bundle.manifest.inputs}
    found = []
    for number, tensor in enumerate(inputs):
        preparation = preparations.get(tensor.name)
        if isinstance(preparation, ArrayPreparation) and preparation.sound is not None:
            if tensor.dtype != "int8":
                raise InputError(f"input {tensor.name!r} is {tensor.dtype}, not int8", 'build with precision = "int8"')
            found.append(_sound_input(number, preparation, bundle, tensor.name))
    return tuple(found)


def _sound_input(number: int, preparation: ArrayPreparation, bundle: Bundle, tensor: str) -> SoundInput:
    assert preparation.sound is not None
    # In the order and the precision of the preparation itself, so that each feature is stored as on other devices.
    features = np.arange(-32768, 32768).astype(np.float32) / np.float32(UNITS_PER_NAT)
    features -= np.float32(preparation.mean[0])
    features *= np.float32(preparation.scale[0])
    stored = quantise(features, bundle.manifest.tensor(tensor))
    shape = tuple(n for n in preparation.tensor_shape if n != 1)
    sides = (preparation.sound.rows, preparation.sound.front_end.bands)
    turned = tuple(axis for axis in preparation.order if preparation.shape[axis] != 1)
    is_turned = turned != tuple(sorted(turned))
    assert shape in (sides, sides[::-1])
    return SoundInput(
        number, preparation.sound.front_end, preparation.sound.rows, preparation.is_bands_first != is_turned, stored
    )
