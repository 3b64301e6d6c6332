"""Which number a data set in COCO's form gives to a class of a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multigraft.errors import InputError
from multigraft.reading import read_text

LARGEST = 512 << 20
"""Bytes; COCO's own training labels take 450 MB."""


def category_of(
    number: int, labels: tuple[str, ...], category_ids: tuple[int, ...], categories: Mapping[int, str] | None = None
) -> int | None:
    """The ``category_id`` of a class.

    Args:
        number: Of the class, from 0.
        labels: Of the task; empty without.
        category_ids: Of the task's classes as its settings give them; empty where nobody said.
        categories: ``category_id`` to name of a file whose numbers are asked for; None without a file.

    Returns:
        With a file: the task's own id where the file has it, else the category of the same name, and without names
        the one at that place of the list; None where there is none. Without a file the task's own id, else the number
        plus 1, since COCO counts from 1; None for a class beyond the ids.
    """
    own = category_ids[number] if number < len(category_ids) else None
    if categories is None:
        return own if category_ids else number + 1
    if category_ids:
        return own if own in categories else None
    if labels:
        name = labels[number].casefold() if number < len(labels) else None
        return next((key for key, value in categories.items() if value.casefold() == name), None)
    known = sorted(categories)
    return known[number] if number < len(known) else None


def no_class_of(path: Path, labels: tuple[str, ...], category_ids: tuple[int, ...]) -> InputError:
    """What to raise where a file has no category that is a class of the task."""
    known = labels or tuple(map(str, category_ids))
    return InputError(
        f"{path} has none of the classes {', '.join(known[:5])}", "name labels, or number them, as the categories are"
    )


def read_content(path: Path) -> dict[str, Any]:
    """All of a file in COCO's form.

    Raises:
        InputError: It is none: no JSON object, or one without categories that have numbers and names.
    """
    try:
        content = json.loads(read_text(path, LARGEST))
        categories = categories_of(content)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} holds no categories in COCO's form ({type(error).__name__}: {error})",
            "give a COCO file with images, annotations and categories",
        ) from error
    if not categories:
        raise InputError(f"{path} names no categories", "give a COCO file with images, annotations and categories")
    return dict(content)


def categories_of(content: Mapping[str, Any]) -> dict[int, str]:
    """``category_id`` to name, by rising ids: the order in which networks are trained on them."""
    return dict(sorted((int(c["id"]), str(c["name"])) for c in content["categories"]))


def images_of(content: Mapping[str, Any]) -> dict[str, int]:
    """Name of a picture's file, without its folder, to its ``image_id``."""
    return {Path(str(i["file_name"])).name: int(i["id"]) for i in content.get("images", ())}
