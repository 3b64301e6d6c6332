"""Results as JSON that every reader takes: a number that is none (NaN, an infinity) is ``null`` (RFC 8259, 6)."""

from __future__ import annotations

import json
from typing import Any

from multigraft.json_encoding import finite


def json_text(value: Any, indent: int | None = None) -> str:
    """``value`` as JSON text.

    Raises:
        TypeError: Something in it has no form in JSON.
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(finite(value), indent=indent, allow_nan=False)
