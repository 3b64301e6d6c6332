"""Where the demo's networks, frames and settings lie: a distribution of their own, which devices do without."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from multigraft.errors import MissingDependencyError
from multigraft.installing import install_demo


def demo_folder() -> Path:
    """The folder with ``multigraft.toml``, ``networks/`` and the frames.

    Raises:
        MissingDependencyError: multigraft-demo is not installed.
    """
    try:
        return Path(str(resources.files("multigraft_demo")))
    except ModuleNotFoundError:
        raise MissingDependencyError("the demo's networks and frames are not installed", install_demo()) from None
