"""Pictures with boxes in COCO's form (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multigraft.answers.categories import categories_of, read_content
from multigraft.errors import InputError


@dataclass(frozen=True)
class CocoLabels:
    """Which pictures there are, and what is on them.

    Attributes:
        path: The file.
        images: ``image_id`` to the picture.
        categories: ``category_id`` to its name.
        content: All of the file, for pycocotools.
    """

    path: Path
    images: dict[int, Path]
    categories: dict[int, str]
    content: dict[str, Any]


def read_coco(path: Path, folder: Path | None = None) -> CocoLabels:
    """Read labels.

    Args:
        path: The JSON file.
        folder: Of the pictures; that of the file by default.

    Raises:
        InputError: It is no such file, or a picture is not there; the message names it.
    """
    remedy = "give a COCO file with images, annotations and categories"
    try:
        content = read_content(path)
        images = {int(i["id"]): str(i["file_name"]) for i in content["images"]}
        categories = categories_of(content)
        for note in content["annotations"]:
            box = [float(v) for v in note["bbox"]]
            if len(box) != 4 or int(note["image_id"]) not in images or int(note["category_id"]) not in categories:
                raise ValueError(f"annotation {note.get('id')} names no image, no category, or has no box")
            note.setdefault("iscrowd", 0)
            note.setdefault("area", box[2] * box[3])
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} holds no labels in COCO's form ({type(error).__name__}: {error})", remedy) from error
    content.setdefault("info", {})
    for number, note in enumerate(content["annotations"], 1):
        note.setdefault("id", number)
    if not images or not categories:
        raise InputError(f"{path} names no images or no categories", remedy)
    base = path.parent if folder is None else folder
    found = {key: base / name for key, name in images.items()}
    missing = [str(p) for p in found.values() if not p.is_file()]
    if missing:
        raise InputError(
            f"{path} names {len(missing)} pictures that are not there, {missing[0]} the first of them",
            "name their folder with --images",
        )
    return CocoLabels(path, found, categories, content)
