"""What the outputs of a network mean."""

from __future__ import annotations

import typing
from typing import Literal

Kind = Literal["classification", "regression", "landmarks", "segmentation", "detection", "other"]
KINDS: tuple[Kind, ...] = typing.get_args(Kind)
