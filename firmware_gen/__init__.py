"""A bundle becomes a C firmware project."""

from multigraft.firmware_gen.generator import generate
from multigraft.firmware_gen.project.project import Project

__all__ = ["Project", "generate"]
