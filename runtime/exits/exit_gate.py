"""One early exit of a running engine: its decision, its counts, and the audit that may close it.

A gate for far frames is never closed: frames that are far are what it is for. It says when they come more often than
among the frames of its test.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Self

from multigraft.exits.audit import Audit
from multigraft.exits.change import Memory
from multigraft.exits.far import UNKNOWN, make_is_far
from multigraft.exits.policy import Exit
from multigraft.exits.sureness import make_decision
from multigraft.runtime.answers import Classification
from multigraft.tensors.arrays import Array
from multigraft.tensors.specs import TensorSpec


class ExitGate:
    """An exit that is open until its audit says that it breaks its promise.

    Args:
        task: Whose exit it is.
        policy: As the manifest says.
        is_sure: Whether the logits, as they are now, let a frame leave.
        memory: Of a gate, the last frame that the whole network answered.

    Attributes:
        task: As given.
        policy: As given.
        memory: As given.
        reached: Frames for which it was computed.
        taken: Those of them that were sure enough, audited or not.
        audit: What runs to the end as well, and how often that said otherwise.
        is_open: Frames may leave.
        audited_share: Of the frames that take it, those to audit now; all while the promise is in doubt.
        tell: Takes a sentence when it closes; the log "multigraft.exits" unless that is changed.
    """

    __slots__ = (
        "audit", "audited_share", "is_open", "is_sure", "memory", "policy", "reached", "taken", "task", "tell",
    )  # fmt: skip

    def __init__(self, task: str, policy: Exit, is_sure: Callable[[], bool], memory: Memory | None = None) -> None:
        self.task = task
        self.policy = policy
        self.is_sure = is_sure
        self.memory = memory
        self.reached = 0
        self.taken = 0
        self.audit = Audit(policy.promise.max_disagreement)
        self.is_open = True
        self.audited_share = policy.audited
        self.tell: Callable[[str], None] = logging.getLogger("multigraft.exits").warning

    @classmethod
    def of(cls, task: str, policy: Exit, spec: TensorSpec, array: Array) -> Self:
        """The exit whose logits lie in ``array``."""
        if not policy.is_gate:
            return cls(task, policy, make_decision(policy, spec, array))
        if policy.is_far:
            return cls(task, policy, make_is_far(spec, array, policy.threshold))
        memory = Memory(spec, array, policy.threshold)
        return cls(task, policy, memory.is_near, memory)

    @property
    def answer(self) -> Callable[[], Any] | None:
        """Of a gate, what gives the last answer, or says that there is none; None where logits are read."""
        if self.policy.is_far:
            return lambda: Classification(UNKNOWN, -1, 0.0)
        memory = self.memory
        return None if memory is None else lambda: memory.answer

    @property
    def rate(self) -> float | None:
        """Share of the frames that reach it and take it; None before the first."""
        return self.taken / self.reached if self.reached else None

    def audited(self, agrees: bool) -> None:
        """Count an audited frame, and close where the promise is refuted, which is told."""
        is_broken = self.audit.add(agrees)
        self.audited_share = 1.0 if self.audit.is_in_doubt else self.policy.audited
        if is_broken and self.is_open:
            self.is_open = False
            self.tell(
                f"exit {self.policy.segment} of task {self.task} is closed: {self.audit.disagreed} of "
                f"{self.audit.audited} audited frames disagree, and at most "
                f"{100 * self.policy.promise.max_disagreement:g} % were promised; the whole network answers from now on"
            )

    def watched(self, is_far: bool) -> None:
        """Of a gate for far frames, look at a frame, and tell once where far ones come too often.

        Of the frames that reach it the first of each block is bet on: its neighbours would say the same once more.
        """
        promise, was_broken = self.policy.promise, self.audit.is_broken
        if max(0, self.reached - 1) % promise.block:
            return
        if self.audit.add(not is_far) and not was_broken:
            which = f"frames, one of each {promise.block:,}," if promise.block > 1 else "frames"
            self.tell(
                f"{self.policy.segment} of task {self.task} called {self.audit.disagreed:,} of {self.audit.audited:,} "
                f"{which} unknown, and of frames like those of its test at most {100 * promise.max_disagreement:g} % "
                "are: what the device sees has changed"
            )

    def reopen(self) -> None:
        """Let frames leave again, and bet anew on the promise."""
        self.audit = Audit(self.policy.promise.max_disagreement)
        self.audited_share = self.policy.audited
        if self.memory is not None:
            self.memory.forget()
        self.is_open = True

    def to_json(self) -> dict[str, Any]:
        """Plain data: counts since the engine was made; of a gate for far frames whether these came too often."""
        is_far = self.policy.is_far
        return {
            "task": self.task,
            "reached": self.reached,
            "taken": self.taken,
            "rate": self.rate,
            "audited": 0 if is_far else self.audit.audited,
            "disagreed": 0 if is_far else self.audit.disagreed,
            "open": self.is_open,
            **({"drifted": self.audit.is_broken} if is_far else {}),
        }
