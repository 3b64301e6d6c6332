"""Frames of a source as a device takes them: the stored inputs of a bundle's task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multigraft.bundle.bundle import Bundle
    from multigraft.tensors.arrays import Array


def prepared_frames(bundle: Bundle, source: str, task: str) -> Iterator[dict[str, Array]]:
    """Stored inputs of a task by tensor name, for frame after frame.

    Args:
        bundle: It says how they are prepared.
        source: As ``--source`` takes it.
        task: Whose inputs; other tasks may take frames of another kind.

    Raises:
        BundleError: The bundle has no such task.
        InputError: The source is not there, or its frames are of another kind.
    """
    import numpy as np

    from multigraft.cli.shared.bundle_sources import open_bundle_source
    from multigraft.tensors.preparation import preparer_for

    manifest = bundle.manifest
    camera = open_bundle_source([source], manifest, [task])
    given = manifest.inputs_of(task)
    specs = {i.tensor: manifest.tensor(i.tensor) for i in given}
    preparers = {i.tensor: preparer_for(i.preprocessing, specs[i.tensor]) for i in given}
    with camera:
        for frame in camera:
            inputs = {}
            for name, spec in specs.items():
                row = np.empty(spec.shape, spec.dtype)
                preparers[name].fill(frame, row)
                inputs[name] = row
            yield inputs
