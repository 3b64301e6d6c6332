"""Every family of answers: a head of random weights through build, run and draw."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from pathlib import Path

from tests.converters import random_heads


def show(folder: Path) -> None:
    """A row per family: whether three pictures were drawn, and how long all of it took."""
    print(f"{'family':18}{'pictures':>10}{'seconds':>10}")
    for family in random_heads.FAMILIES:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        random_heads.settings(folder, family)
        said, start = io.StringIO(), time.monotonic()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
                random_heads.through(folder)
        except AssertionError:
            print(said.getvalue()[-400:])
        pictures = len(list((folder / "drawn").glob("*.png")))
        print(f"{family:18}{pictures:10}{time.monotonic() - start:10.1f}", flush=True)
