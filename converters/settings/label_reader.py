"""``labels``: a list, a text file with one a line, or the categories of a COCO file."""

from __future__ import annotations

from typing import Any, Self

from multigraft.answers.categories import categories_of, read_content
from multigraft.converters.settings.toml_reader import LARGEST, Place, Reader, file, several, text
from multigraft.errors import InputError
from multigraft.reading import read_text


class CategoryNames(tuple[str, ...]):
    """Labels whose classes have numbers in a data set.

    Attributes:
        ids: ``category_id`` of each.
    """

    ids: tuple[int, ...]

    @classmethod
    def of(cls, categories: dict[int, str]) -> Self:
        """From ``category_id`` to name."""
        names = cls(categories.values())
        names.ids = tuple(categories)
        return names


def _read(value: Any, place: Place) -> tuple[str, ...]:
    if not isinstance(value, str):
        labels: tuple[str, ...] = several(text(), LABELS.expects).read(value, place)
    else:
        path = _FILE.read(value, place)
        try:
            if path.suffix.lower() == ".json":
                return CategoryNames.of(categories_of(read_content(path)))
            lines = read_text(path, LARGEST).replace("\r", "\n").split("\n")
        except InputError as error:
            place.fail(f"names {value!r}: {error.problem}", f"write {LABELS.expects}")
        except UnicodeDecodeError:
            place.fail(f"names {value!r}, which is not UTF-8 text", f"write {LABELS.expects}")
        # An alphabet has a line for the space, and may have one for the space of another script or a separator.
        labels = tuple(line if len(line) == 1 else line.strip() for line in lines if len(line) == 1 or line.strip())
    if not labels:
        place.fail("is empty", f"write {LABELS.expects}")
    return labels


_FILE = file("a list of texts, the path of a text file with one label a line, or of a COCO file (.json)")
LABELS = Reader(_FILE.expects, _read)
