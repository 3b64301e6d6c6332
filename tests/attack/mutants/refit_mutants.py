"""Mutants of a file of solved weights: facts of its manifest, arrays and their names, and bytes."""

from __future__ import annotations

import json

import numpy as np

from multigraft.npz import npz_bytes, read_npz
from tests.attack.mutants.mutator import Mutator
from tests.attack.mutants.pieces import VALUES, packed, places, scrambled, unpacked


class RefitMutator(Mutator):
    """Makes mutants of a file of solved weights."""

    def mutant(self) -> bytes:
        draw = self._random
        way = draw.random()
        if way < 0.15:
            return scrambled(self._data, draw)
        if way < 0.55:
            arrays = read_npz(self._data)
            facts = json.loads(arrays["manifest"].tobytes())
            self._change(facts)
            arrays["manifest"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
            return npz_bytes(arrays)
        members = unpacked(self._data)
        name = draw.choice(list(members))
        content = members.pop(name)
        if draw.random() < 0.8:
            size = draw.choice((96, len(content)))
            members[name] = scrambled(content[:size], draw) + content[size:]
        else:
            members[draw.choice((draw.choice(list(members)), "x.npy", "../x.npy"))] = content
        return packed(members)

    def _change(self, facts: dict[str, object]) -> None:
        holder, key = self._random.choice(places(facts))
        if self._random.random() < 0.2:
            del holder[key]
        else:
            holder[key] = self._random.choice(VALUES)
