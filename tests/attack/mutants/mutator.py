"""What makes mutants of a file."""

from __future__ import annotations

import abc
import random


class Mutator(abc.ABC):
    """Makes mutants of one file; equal seeds give equal mutants.

    Args:
        data: The file.
        seed: For the choice of all mutants.
    """

    def __init__(self, data: bytes, seed: int = 0) -> None:
        self._data, self._random = data, random.Random(seed)

    @abc.abstractmethod
    def mutant(self) -> bytes:
        """The next one."""
