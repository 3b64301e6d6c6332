"""Ranges of the tensors between the taps, for static int8: of one frame per minibatch.

A taps bundle holds stretches of each network that return what lies between its taps
(``converters/field/range_stretches.py``). They run after the networks did, from the taps of the same frame; those of
large networks by an interpreter that is made for it and dropped again: it packs no weights, and holds few tensors at a
time.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from multigraft.bundle.tap_outputs import RANGES_SIGNATURE, RESIDENT
from multigraft.calibration.collect.taps_runner import TapsRunner
from multigraft.errors import BundleError, InputError
from multigraft.runtime.memory import give_back_memory
from multigraft.runtime.tflite_model import Subgraph
from multigraft.statistics import entries
from multigraft.statistics.tally import Terms
from multigraft.tensors.arrays import Float32Array

HELD_BYTES = 4 << 20
"""Bytes of tensors: an interpreter that holds more is dropped before the next stretch."""


class InnerRanges:
    """Least and greatest value of every inner tensor over the frames that were looked at.

    Args:
        runner: Runs a taps bundle; one that an older version prepared has nothing to look at.

    Raises:
        BundleError: A stretch reads what neither the networks nor stretches before it give.
    """

    def __init__(self, runner: TapsRunner) -> None:
        self._runner = runner
        interpreter = runner.engine.model
        stretches = sorted(s for s in interpreter.signatures if s.startswith(RANGES_SIGNATURE))
        others = tuple(f"{t.name}/" for t in runner.engine.manifest.tasks if t.name not in runner.view.tasks)
        # A stretch is of one network, whose name is what its tensors' names begin with.
        self._stretches = [s for s in stretches if not _is_of(others, interpreter.outputs_of(s))]
        read = [interpreter.inputs_of(name) for name in self._stretches]
        given = runner.arrays.keys() | {o for name in self._stretches for o in interpreter.outputs_of(name)}
        if unknown := {tensor for inputs in read for tensor in inputs} - given:
            raise BundleError(
                f"the model of {runner.engine.manifest.name} reads {min(unknown)}, which nothing gives",
                "make one with multigraft calibrate prepare",
            )
        self._last_readers = {tensor: number for number, inputs in enumerate(read) for tensor in inputs}
        self._resident = {s: interpreter.subgraph(s) for s in self._stretches if s.endswith(RESIDENT)}
        self._is_large = False
        self._frames = 0
        self._limits: dict[str, tuple[float, float]] = {}

    def look(self) -> None:
        """Run the stretches on the frame that the networks were run on last.

        Raises:
            InputError: A tensor holds NaN or infinity.
        """
        self._tidy()
        self._run_all()
        self._tidy()
        self._frames += 1

    def _tidy(self) -> None:
        if self._is_large:
            give_back_memory()

    def _run_all(self) -> None:
        known: dict[str, Float32Array] = dict(self._runner.arrays)
        interpreter, held_bytes = None, 0
        for number, name in enumerate(self._stretches):
            if held_bytes > HELD_BYTES:
                # The old one goes before the next one comes.
                interpreter, held_bytes, self._is_large = None, 0, True
                self._tidy()
            if (resident := self._resident.get(name)) is not None:
                for tensor, array in resident.inputs.items():
                    np.copyto(array, known[tensor])
                resident.invoke()
                self._note(resident, number, known)
                continue
            interpreter = interpreter or self._runner.engine.model.without_delegates()
            given = {t: known[t] for t in interpreter.inputs_of(name)}
            held_bytes += self._note(interpreter.subgraph(name, given), number, known)

    def _note(self, subgraph: Subgraph, number: int, known: dict[str, Float32Array]) -> int:
        """Take ranges of what a stretch returned, add what later ones read to ``known``; the bytes of its tensors."""
        for tensor, array in subgraph.outputs.items():
            low, high = float(array.min()), float(array.max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise InputError(f"tensor {tensor} holds NaN or infinity", "check the network and its input")
            before = self._limits.get(tensor, (low, high))
            self._limits[tensor] = min(low, before[0]), max(high, before[1])
            if self._last_readers.get(tensor, number) > number:
                known[tensor] = array.copy()
        for tensor in [t for t in known if self._last_readers.get(t, number) <= number]:
            del known[tensor]
        return sum(a.nbytes for a in (*subgraph.inputs.values(), *subgraph.outputs.values()))

    def summarise(self, terms: Terms) -> None:
        """Add what was seen since the last call, and forget it."""
        if self._limits:
            terms.counts[entries.INNER] = np.array(self._frames, np.int64)
        for name, (low, high) in self._limits.items():
            terms.lows[name], terms.highs[name] = np.array(low, np.float64), np.array(high, np.float64)
        self.discard()

    def discard(self) -> None:
        """Forget what was seen."""
        self._frames = 0
        self._limits.clear()


def _is_of(prefixes: tuple[str, ...], tensors: Iterable[str]) -> bool:
    return any(tensor.startswith(prefixes) for tensor in tensors)
