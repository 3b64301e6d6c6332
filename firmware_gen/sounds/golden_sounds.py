"""Sounds that firmware hears, and what it has to answer to them, bit for bit: the front end and the model together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.inspection.reference import evaluate_sequence
from multigraft.firmware_gen.program.program import Program
from multigraft.firmware_gen.sounds.sound_files import SoundInput
from multigraft.sounds.log_mel import Samples, log_mel
from multigraft.tensors.arrays import Array

SAMPLES = "samples"


def golden_sounds(program: Program, inputs: Sequence[SoundInput], cases: int = 2) -> dict[str, Array]:
    """Sounds (:data:`SAMPLES`, cases x samples, int16) and outputs by tensor name, first axis = case.

    Nothing where some input of the program is not made of sound. A model's variables are kept between the cases.
    """
    if not inputs or len(inputs) < len(program.inputs):
        return {}
    sounds = [_sound(case, max(i.front_end.samples(i.rows) for i in inputs)) for case in range(cases)]
    frames = [
        {program.inputs[i.number].name: stored_input(i, sound, program.inputs[i.number].shape) for i in inputs}
        for sound in sounds
    ]
    rows = evaluate_sequence(program, frames)
    return {SAMPLES: np.stack(sounds)} | {t.name: np.stack([row[t.name] for row in rows]) for t in program.outputs}


def stored_input(sound_input: SoundInput, heard: Samples, shape: tuple[int, ...]) -> Array:
    """The stored input once these samples were heard, at least as many as it looks back."""
    last = log_mel(heard, sound_input.front_end)[-sound_input.rows :]
    stored = sound_input.stored[last.astype(np.int64) + 32768]
    arranged: Array = np.ascontiguousarray(stored.T if sound_input.bands_first else stored)
    return arranged.reshape(shape)


def _sound(case: int, count: int) -> Samples:
    """Noise whose loudness and colour wander, over all that 16 bits hold."""
    random = np.random.default_rng((7, case))
    loudness = np.interp(np.linspace(0, 9, count), range(10), 10 ** random.uniform(0, 4.3, 10))
    buzz = np.sin(np.cumsum(np.interp(np.linspace(0, 9, count), range(10), random.uniform(0.02, 1.5, 10))))
    sound: Samples = np.clip(loudness * (buzz + random.normal(0, 0.3, count)), -32768, 32767).astype(np.int16)
    return sound
