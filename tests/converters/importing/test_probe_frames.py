"""Frames on which rewritten networks are judged: smooth, bright and dark, so that whatever pools over them moves."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.converters.importing.probe_frames import COUNT, probe_frames


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 3), (224, 224, 3), (96, 31, 1), (1, 1, 3)])
def test_they_are_as_a_camera_makes_them(height: int, width: int, channels: int) -> None:
    frames = probe_frames(height, width, channels)
    assert frames.shape == (COUNT, height, width, channels) and frames.dtype == np.uint8
    assert np.array_equal(frames, probe_frames(height, width, channels))
    if height >= 96 and width >= 31:
        brightness = frames.mean((1, 2, 3))
        assert np.ptp(brightness) > 40
        values = frames.astype(float)
        steps = np.abs(np.diff(values, axis=1)).mean()
        assert 0 < steps < values.std() / 2, "neighbours are alike"
        assert values.std((1, 2)).min() > 10, "no channel is flat"
