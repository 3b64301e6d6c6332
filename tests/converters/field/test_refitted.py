"""Layers that a device solved are taken for the networks that they are of, and refused for others."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.answers.crops import On
from multigraft.converters.field.refitted_candidates import check_networks
from multigraft.errors import InputError
from multigraft.refit.refit_plan import Refit, SolvedGraft
from tests.converters.graft.networks import residual_network

REFIT = Refit((SolvedGraft("b", "a", "r", "r", "refit", "independent", (), 40),), {}, 40, {"l/1": np.zeros(1, "f4")})


def test_networks_that_look_at_other_frames_are_refused() -> None:
    first, second = residual_network("a", 1), residual_network("b", 2)
    assert check_networks(REFIT, [first, second]) == {"a": first, "b": second}
    second.on = On("a")
    with pytest.raises(InputError, match="the refit has 'b' on 'a', which looks at other frames; plan and refit again"):
        check_networks(REFIT, [first, second])


def test_a_task_of_no_network_is_refused() -> None:
    with pytest.raises(InputError, match="the refit is of a network 'a', which the settings do not name"):
        check_networks(REFIT, [residual_network("b", 2)])
