"""Labels against the number of classes that an output holds."""

from __future__ import annotations

from multigraft.errors import ConfigurationError


def check_labels(labels: tuple[str, ...], classes: int, output: str) -> None:
    """Refuse names that cannot belong to the classes.

    Raises:
        ConfigurationError: There are names, and another number of classes.
    """
    if labels and len(labels) != classes:
        raise ConfigurationError(
            f"there are {len(labels)} labels, and {output} holds {classes} classes", "give one label per class, or none"
        )
