"""What firmware answers where tasks have early exits: which frames leave, which are audited, which exits close."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from multigraft.exits.audit import Audit
from multigraft.exits.draws import Draws
from multigraft.exits.sureness import make_decision
from multigraft.firmware_gen.program.program import EarlyExit, Program
from multigraft.tensors.arrays import Array


class EarlyAnswers:
    """The exits of a program over frames that follow each other, all tasks being asked for.

    Args:
        program: With exits or without.
        seed: Of the draw of frames that are audited.
    """

    def __init__(self, program: Program, seed: int = 0) -> None:
        self._program = program
        self._draws = Draws(seed)
        self._exits = [_Exit(found) for found in program.exits]

    def settle(self, values: dict[str, Array]) -> None:
        """Make of all tensors of a frame, everything computed, what firmware answers with.

        Args:
            values: By name; outputs are replaced.
        """
        chances: dict[int, float] = {}
        left: dict[int, _Exit] = {}
        audited: dict[int, _Exit] = {}

        def is_audited(one: _Exit) -> bool:
            share = one.found.policy.audited
            if share and one.audit.is_in_doubt:
                share = 1.0
            if share and one.found.task not in chances:
                chances[one.found.task] = self._draws.random()
            return bool(share) and chances[one.found.task] < share

        for one in self._exits:
            found = one.found
            if one.audit.is_broken or found.task in left or found.task in audited:
                values[found.logits] = np.zeros_like(values[found.logits])
                continue
            looked_at = is_audited(one)
            if one.is_sure(values[found.logits]):
                (audited if looked_at else left)[found.task] = one
        for one in audited.values():
            one.audit.add(bool(values[one.found.logits].argmax() == values[one.found.whole].argmax()))
        for one in self._exits:
            taken = left.get(one.found.task) or audited.get(one.found.task)
            is_marginal = one.found.policy.promise.kind == "marginal"
            if is_marginal and taken is not one and not one.audit.is_broken and is_audited(one):
                one.audit.add(True)
        staying = {name for n, t in enumerate(self._program.tasks) if n not in left for name in t.outputs}
        for one in self._exits:
            gone = left.get(one.found.task)
            values[one.found.said] = np.array([gone.found.number if gone else 0], np.int32)
            if gone and one.found.whole not in staying:
                values[one.found.whole] = np.zeros_like(values[one.found.whole])


class _Exit:
    def __init__(self, found: EarlyExit) -> None:
        self.found = found
        self.audit = Audit(found.policy.promise.max_disagreement)
        self._logits = np.zeros(found.spec.shape, found.spec.dtype)
        self._decide: Callable[[], bool] = make_decision(found.policy, found.spec, self._logits)

    def is_sure(self, logits: Array) -> bool:
        self._logits[...] = logits
        return self._decide()
