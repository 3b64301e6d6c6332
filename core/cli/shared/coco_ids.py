"""Numbers of pictures and classes in a COCO results list: those of a data set, where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.answers.categories import categories_of, category_of, images_of, no_class_of, read_content
from multigraft.errors import InputError

if TYPE_CHECKING:
    from multigraft.bundle.manifest import Manifest


class CocoIds:
    """What ``image_id`` and ``category_id`` are to be.

    Args:
        manifest: Whose tasks have labels, and perhaps numbers of classes.
        path: A COCO file whose numbers are taken; None for the tasks' own.

    Raises:
        InputError: It is no such file, or shares no class with a task that finds boxes.
    """

    def __init__(self, manifest: Manifest, path: Path | None) -> None:
        self._path = path
        self._tasks = {
            task.name: (task.labels, task.answer.category_ids) for task in manifest.tasks if task.answer is not None
        }
        self._categories: Mapping[int, str] | None = None
        self._images: Mapping[str, int] = {}
        if path is not None:
            content = read_content(path)
            self._categories, self._images = categories_of(content), images_of(content)

    def category(self, task: str, number: int) -> int | None:
        """Of a class of a task; None where the file has no such category."""
        labels, own = self._tasks.get(task, ((), ()))
        return category_of(number, labels, own, self._categories)

    def image(self, named: Mapping[str, Any]) -> int:
        """Of a frame: of the file of its name, else the number that its name is, else the number of the frame.

        Raises:
            InputError: There are pictures in the COCO file, and none of that name.
        """
        name = named.get("file", "")
        if self._images:
            if name not in self._images:
                raise InputError(
                    f"{self._path} names no picture {name or 'for frame ' + str(named['frame'])}",
                    "run on the pictures that it names",
                )
            return self._images[name]
        stem = Path(name).stem
        return int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 16 else int(named["frame"])

    def check(self, task: str) -> None:
        """Refuse a task none of whose classes is a category of the file.

        Raises:
            InputError: So it is.
        """
        labels, own = self._tasks.get(task, ((), ()))
        if self._path is None or not (labels or own):
            return
        if all(self.category(task, number) is None for number in range(len(labels) or len(own))):
            raise no_class_of(self._path, labels, own)
