"""Sound as a network's input: the same numbers on workstation and device, and the manifest that says how."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from multigraft.bundle.manifest import Input, Manifest
from multigraft.devices.sounds.fake_microphone import FakeMicrophone
from multigraft.errors import ConfigurationError, InputError
from multigraft.sounds.front_end import NAMED, FrontEnd
from multigraft.sounds.listening import Listening
from multigraft.sounds.log_mel import log_mel
from multigraft.sounds.sound_window import SoundWindow
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import (
    blank_frame,
    describe_frames,
    prepare_frames,
    preparer_for,
    random_frame,
    row_shape,
    shared_row_shape,
)
from multigraft.tensors.quantisation import quantise
from multigraft.tensors.specs import TensorSpec
from tests.core.bundle.samples import manifest

KEYWORD = NAMED["keyword"]
WINDOW = SoundWindow(KEYWORD, 49, 8000)
SPEC = ArrayPreparation((1, 49, 40), (-7.0,), (0.2,), order=(1, 2, 0), sound=WINDOW)
SAMPLES = 15_840


def heard() -> Array:
    return np.concatenate(list(FakeMicrophone(seed=5, seconds=SAMPLES / 16_000)))


def test_a_device_stores_what_the_workstation_prepared() -> None:
    frame = heard()
    assert frame.shape == (SAMPLES,)
    prepared = prepare_frames([frame, blank_frame(SPEC)], SPEC)
    features = log_mel(frame, KEYWORD).astype(np.float32) / np.float32(1024)
    np.testing.assert_array_equal(prepared[0, 0], (features + np.float32(7)) * np.float32(0.2))
    assert prepared.shape == (2, 1, 49, 40) and prepared.dtype == np.float32
    tensor = TensorSpec("sound", (1, 49, 40, 1), "int8", 0.02, -11)
    out = np.empty(tensor.shape, np.int8)
    preparer_for(SPEC, tensor).fill(frame, out)
    np.testing.assert_array_equal(out[0, :, :, 0], quantise(prepared[0, 0], tensor))
    assert len(np.unique(out)) > 50


def test_networks_that_take_bands_first_get_them_so() -> None:
    turned = ArrayPreparation((40, 49), (-7.0,), (0.2,), sound=WINDOW)
    frame = heard()
    np.testing.assert_array_equal(prepare_frames([frame], turned)[0], prepare_frames([frame], SPEC)[0, 0].T)


def test_a_source_is_asked_for_windows() -> None:
    listening = Listening(16_000, SAMPLES, 8000)
    assert row_shape(SPEC) == listening == shared_row_shape([SPEC, SPEC])
    assert describe_frames(SPEC) == "sounds of 15840 samples every 8000 at 16000 Hz"
    noise = random_frame(SPEC, np.random.default_rng(0))
    assert noise.shape == (SAMPLES,) and noise.dtype == np.int16 and noise.std() > 100
    with pytest.raises(InputError, match=r"one source cannot serve tasks that take sounds of 15840 .* and rows of 3"):
        shared_row_shape([SPEC, ArrayPreparation((3,))])


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (np.zeros(SAMPLES), "give int16 samples"),
        (np.zeros(SAMPLES - 1, np.int16), "a sound has 15839 samples and its task takes 15840"),
        (np.zeros((2, SAMPLES), np.int16), "give int16 samples of one channel"),
        ([0] * SAMPLES, "a sound is list"),
    ],
)
def test_what_is_no_such_sound_is_refused(frame: Array, says: str) -> None:
    with pytest.raises(InputError, match=says):
        prepare_frames([frame], SPEC)
    assert prepare_frames([np.zeros((1, SAMPLES), np.int16)], SPEC).shape == (1, 1, 49, 40)


def test_contradictions_are_refused() -> None:
    contradictions: tuple[dict[str, Any], ...] = (
        {"shape": (1, 49, 41)},
        {"mean": (0.0,) * 49, "axis": 1},
        {"values": "int32"},
    )
    for changes in contradictions:
        with pytest.raises(ConfigurationError):
            ArrayPreparation(**{"shape": (1, 49, 40), "sound": WINDOW, **changes})
    for rows, hop in ((0, 1), (1, 0)):
        with pytest.raises(ConfigurationError, match="give positive numbers"):
            SoundWindow(KEYWORD, rows, hop)


def test_a_manifest_records_the_front_end() -> None:
    own = SoundWindow(FrontEnd(8_000, 200, 80, 256, 20, 60.0, 3800.0, 1e-9), 30, 4000)
    spec = ArrayPreparation((30, 20), sound=own)
    plain = dataclasses.replace(
        manifest(),
        inputs=(Input("image", spec),),
        tensors=(TensorSpec("image", (1, 30, 20), "int8", 0.5, -3), *manifest().tensors[1:]),
    )
    read = Manifest.from_json(json.loads(json.dumps(plain.to_json())))
    assert read.inputs[0].preprocessing == spec
