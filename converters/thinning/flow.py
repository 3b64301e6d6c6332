"""Values of a network on all frames, computed from the last tensor whose values are kept, not from the beginning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Array, Network, model_of, session_of

KEPT_BYTES = 1 << 29
"""Of one tensor on all frames; larger ones are computed again."""

CHUNK = 40
"""Frames at once, at most."""


class Flow:
    """One network while its layers change.

    Args:
        network: It stays untouched; :attr:`nodes` and :attr:`constants` are copies that may change.
        frames: Unlabeled.
        behind: Of a network that is the same up to where that one has come: the values there are taken from it.
    """

    def __init__(self, network: Network, frames: Frames, behind: Flow | None = None) -> None:
        self.network, self._frames = network, frames
        self.nodes = [_copy(n) for n in network.nodes]
        self.constants = dict(network.constants)
        self._writer = {o: i for i, n in enumerate(self.nodes) for o in n.output if o}
        self._start, self._from = network.input, 0
        self._values: Array | None = None
        if behind is not None:
            self._start, self._from, self._values = behind._start, behind._from, behind._values
        self._sessions: dict[tuple[str, ...], ort.InferenceSession] = {}
        self.step = max(1, min(CHUNK, network.batch)) if network.is_batched else 1

    def chunks(self) -> list[slice]:
        """The frames, in parts."""
        return [slice(i, i + CHUNK) for i in range(0, len(self._frames), CHUNK)]

    def steps(self) -> list[slice]:
        """The same frames in the parts in which they are run: of these no large tensor has to be put together."""
        ends = [(part.start, min(part.stop, len(self._frames))) for part in self.chunks()]
        return [slice(i, min(i + self.step, end)) for start, end in ends for i in range(start, end, self.step)]

    def __call__(self, part: slice, names: Sequence[str]) -> dict[str, Array]:
        """The tensors of ``names`` on some of the frames."""
        given = self.network.prepare(self._frames[part]) if self._values is None else self._values[part]
        found = {name: given for name in names if name == self._start}
        wanted = tuple(sorted({n for n in names if n != self._start}))
        if wanted:
            session = self._session(wanted)
            parts = [
                session.run(list(wanted), {self._start: given[i : i + self.step]})
                for i in range(0, len(given), self.step)
            ]
            joined = parts[0] if len(parts) == 1 else [np.concatenate(made) for made in zip(*parts, strict=True)]
            found |= dict(zip(wanted, joined, strict=True))
        return found

    def advance(self, name: str) -> None:
        """Keep the values of ``name``, a cut point: what comes before it does not change any more."""
        elements = int(np.prod(self.network.shapes[name]))
        if 4 * elements * len(self._frames) > KEPT_BYTES:
            return
        values = np.empty((len(self._frames), *self.network.shapes[name]), np.float32)
        for part in self.steps():
            values[part] = self(part, [name])[name]
        self._start, self._from, self._values = name, self._writer[name] + 1, values
        self._sessions.clear()

    def put(self, index: int, solved: dict[int, Array]) -> None:
        """Give a node other constants, by position."""
        node = self.nodes[index]
        for position, value in solved.items():
            while len(node.input) <= position:
                node.input.append("")
            name = f"{node.output[0]}/thin/{position}"
            node.input[position] = name
            self.constants[name] = value
        self._sessions.clear()

    def model(self) -> onnx.ModelProto:
        """The whole network as it is now."""
        model = onnx.ModelProto()
        model.CopyFrom(self.network.model)
        del model.graph.node[:], model.graph.initializer[:]
        model.graph.node.extend(self.nodes)
        model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in self.constants.items())
        return model

    def _session(self, names: tuple[str, ...]) -> ort.InferenceSession:
        if names not in self._sessions:
            last = max(self._writer[n] for n in names)
            needed, nodes = set(names), []
            for node in reversed(self.nodes[self._from : last + 1]):
                if needed.intersection(node.output):
                    nodes.append(node)
                    needed.update(n for n in node.input if n)
            rank = len(self.network.shapes[self._start]) + 1
            kind = onnx.helper.np_dtype_to_tensor_dtype(
                self.network.input_dtype if self._start == self.network.input else np.dtype(np.float32)
            )
            graph = onnx.helper.make_graph(
                nodes[::-1],
                "part",
                [onnx.helper.make_tensor_value_info(self._start, kind, [None] * rank)],
                [onnx.ValueInfoProto(name=n) for n in names],
                [numpy_helper.from_array(v, k) for k, v in self.constants.items() if k in needed],
            )
            self._sessions[names] = session_of(model_of(graph, self.network.opset), self.network.name)
        return self._sessions[names]


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied
