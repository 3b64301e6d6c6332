"""Where a task of a bundle can go on elsewhere: tensors that all of its rest, and nothing but it, hangs on."""

from __future__ import annotations

from multigraft.bundle.manifest import Manifest, Task
from multigraft.errors import UsageError
from multigraft.runtime.offload.quantiser import can_travel


def cuts_of(manifest: Manifest, task_name: str) -> tuple[str, ...]:
    """A task's cut points, from its network input on.

    Args:
        manifest: Of the bundle.
        task_name: Of one of its tasks.

    Raises:
        BundleError: There is no such task.
        UsageError: It cannot be offloaded at all: it looks at boxes, has several inputs, or its outputs are parted.
    """
    task = manifest.task(task_name)
    for reason, holds in (
        ("looks at the boxes of another", task.on is not None),
        ("has outputs that were parted for the device", bool(task.joined)),
        ("takes several inputs", len(manifest.inputs_of(task_name)) != 1),
    ):
        if holds:
            raise UsageError(f"task {task_name} {reason}, which no server can answer", "offload another task")
    source = manifest.inputs_of(task_name)[0].tensor
    written = [t for name in task.segments for t in manifest.segment(name).outputs.values()]
    names = [n for n in (source, *written) if n not in task.outputs and _is_cut(manifest, task, n)]
    return tuple(name for name in names if can_travel(manifest.tensor(name)))


def check_cut(manifest: Manifest, task_name: str, cut: str) -> None:
    """Refuse what is no cut point of a task.

    Raises:
        UsageError: It is none; the message lists those there are.
    """
    cuts = cuts_of(manifest, task_name)
    if cut not in cuts:
        have = ", ".join(cuts) or "none"
        raise UsageError(f"task {task_name} has no cut point {cut!r}", f"choose from: {have}")


def segments_before(manifest: Manifest, task_name: str, tensor: str) -> tuple[str, ...]:
    """Segments of a task that have run once a tensor is there, in running order."""
    before: list[str] = []
    wanted = {tensor}
    for name in reversed(manifest.task(task_name).segments):
        segment = manifest.segment(name)
        if wanted.intersection(segment.outputs.values()):
            before.append(name)
            wanted.update(segment.inputs.values())
    return tuple(before[::-1])


def _is_cut(manifest: Manifest, task: Task, tensor: str) -> bool:
    """Whether what is left of the task behind a tensor reads that one alone."""
    before = segments_before(manifest, task.name, tensor)
    rest = [manifest.segment(name) for name in task.segments if name not in before]
    made = {t for segment in rest for t in segment.outputs.values()}
    read = {t for segment in rest for t in segment.inputs.values()} - made
    return read == {tensor} and set(task.outputs) <= made
