"""Where answers lie on the frame that they were asked of."""

from __future__ import annotations

from multigraft.answers.family import Decoded
from multigraft.answers.placement import Placement
from multigraft.bundle.manifest import Manifest
from multigraft.tensors.preparation import Frame
from multigraft.tensors.preprocessing import Preprocessing

_SHAPES_KEPT = 64


class Places:
    """Placements of a bundle's inputs, made once per shape of frames. Not for use from several threads at once."""

    def __init__(self, manifest: Manifest) -> None:
        self._preparations = {source.tensor: source.preprocessing for source in manifest.inputs}
        self._known: dict[tuple[str, tuple[int, ...]], Placement] = {}

    def placed(self, answer: Decoded, tensor: str, frame: Frame) -> Decoded:
        """The answer in pixels of the frame that the input ``tensor`` was made of."""
        placement = self.of(tensor, frame)
        return answer if placement is None else answer.placed(placement)

    def of(self, tensor: str, frame: Frame) -> Placement | None:
        """How the input lies in the frame; None where it is no picture."""
        preparation = self._preparations[tensor]
        if not isinstance(preparation, Preprocessing):
            return None
        key = tensor, frame.shape
        if (placement := self._known.get(key)) is None:
            if len(self._known) >= _SHAPES_KEPT:
                self._known.clear()
            placement = self._known[key] = Placement.of_frame(preparation, frame.shape)
        return placement
