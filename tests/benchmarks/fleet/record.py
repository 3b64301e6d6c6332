"""Runs of a campaign that are done, so that the same command goes on where it ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multigraft.converters.job.checkpoints import CODE_FOLDERS, code_digest


class Record:
    """What runs told, one a line.

    Args:
        path: Of the file; what other code has told is left out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._code = code_digest(CODE_FOLDERS).hex()
        lines = path.read_text().splitlines() if path.is_file() else []
        told = [json.loads(line) for line in lines if line.endswith("}")]
        self._done = {one["name"]: one["told"] for one in told if one["code"] == self._code}

    def get(self, name: str, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What the run of that name told, or tells now."""
        if name not in self._done:
            self._done[name] = do()
            line = json.dumps({"name": name, "code": self._code, "told": self._done[name]})
            with self._path.open("a") as file:
                file.write(f"{line}\n")
        found: dict[str, Any] = self._done[name]
        return found
