"""Unlabeled frames as the workstation holds them."""

from __future__ import annotations

from collections.abc import Sequence

from multigraft.tensors.preparation import Frame

__all__ = ["Frame", "Frames"]

Frames = Sequence[Frame]
