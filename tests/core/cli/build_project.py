"""A folder with two small networks, frames and settings, as users have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from multigraft.converters.network.network import Network
from tests.converters.graft.networks import frames

TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "classification"
labels = ["no", "maybe", "yes"]
{more}
[task.preprocessing]
size = [8, 8]
color = "grey"
"""


def write_project(folder: Path, *networks: Network, rest: str = "", more: str = "", count: int = 400) -> Path:
    """Write it and return the settings file.

    Args:
        folder: Existing.
        networks: One task each, which has its name.
        rest: Tables after the tasks.
        more: Keys of every task.
        count: Frames, of which 200 are held out at most.
    """
    for network in networks:
        onnx.save(network.model, folder / f"{network.name}.onnx")
    np.save(folder / "frames.npy", frames(count))
    tasks = "".join(TASK.format(name=network.name, more=more) for network in networks)
    settings = folder / "multigraft.toml"
    settings.write_text(f'frames = "frames.npy"\n[bundle]\nname = "pair"\n{tasks}{rest}', "utf-8")
    return settings
