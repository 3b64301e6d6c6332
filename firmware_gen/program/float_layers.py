"""A bundle some of whose layers stayed float: refused by their names, with what makes it int8 throughout."""

from __future__ import annotations

from multigraft.bundle.manifest import Manifest
from multigraft.errors import InputError
from multigraft.firmware_gen.program.program import Program

MOST_NAMED = 5


def check_float_layers(program: Program, manifest: Manifest) -> None:
    """Refuse layers that a build kept in float, be it for the agreement or because it was told to.

    A bundle that was not to be int8 is left to what refuses its tensors.

    Raises:
        InputError: There are some; the message names them, or the segments they lie in.
    """
    if not any(t.dtype == "float32" for s in program.steps if s.node.name != "DEQUANTIZE" for t in s.node.outputs):
        return
    rescue = manifest.provenance.get("rescue")
    listed = rescue.get("layers", []) if isinstance(rescue, dict) else []
    rescued = [str(layer.get("tensor")) for layer in listed if isinstance(layer, dict)]
    grouped = rescue.get("groups", []) if isinstance(rescue, dict) else []
    rescued += [str(group.get("name")) for group in grouped if isinstance(group, dict)]
    if rescued:
        raise InputError(
            f"{_named(rescued)} stayed float32, because too few answers stayed equal in int8, and firmware computes "
            "in int8",
            'build the bundle with rescue = "none" under [convert], and see what agreement is left',
        )
    segments = [s.name for s in manifest.segments if "float32" in s.precision]
    if manifest.provenance.get("precision") in ("int8", "int4") and segments:
        raise InputError(
            f"layers of {_named(segments)} stayed float32, and firmware computes in int8",
            "build the bundle without keep_float",
        )


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(map(repr, names[:MOST_NAMED])) + more
