"""Pillow, which is loaded when something is drawn and not before."""

from __future__ import annotations

from typing import Any

from multigraft.errors import MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair


def pillow() -> tuple[Any, Any, Any]:
    """Its modules Image, ImageDraw and ImageFont.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except Exception as error:
        raise MissingDependencyError(
            f"drawing needs Pillow, which is {how_missing(error)}", repair(error, install_extra("images"))
        ) from error
    return Image, ImageDraw, ImageFont
