"""How many frames a network runs at once: as many as keep its largest tensor small, with the answers of one by one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.converters.graft.networks import frames, residual_network


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_the_largest_tensor_bounds_the_batch_and_the_answers_stay(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = residual_network("first", 1)
    largest = max(int(np.prod(shape)) for shape in network.shapes.values()) * 4
    monkeypatch.setattr("multigraft.converters.network.network.RUN_BATCH_BYTES", most * largest + largest - 1)
    x = network.prepare(frames(70))
    assert network.batch == min(most, 64)
    (output,) = network.outputs
    together = network.run(x)[output]
    alone = np.concatenate([network.run(one[None])[output] for one in x])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)
