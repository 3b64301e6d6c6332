"""Runs a bundle: engine, timing, memory and energy of every answer. Imports numpy and the interpreter only."""

from multigraft.runtime.engine import Engine
from multigraft.runtime.result import Result

__all__ = ["Engine", "Result"]
