"""A Sum, Mean, Max, Min or Concat of one input is that input."""

from __future__ import annotations

from multigraft.converters.conversion.rewrites.editing import Rule, Writer


def of_one(writer: Writer) -> bool:
    """Pass the one input on."""
    if len(writer.node.input) != 1:
        return False
    writer("Identity", writer.node.input[0], to=writer.node.output[0])
    return True


RULES: dict[str, tuple[Rule, ...]] = dict.fromkeys(("Sum", "Mean", "Max", "Min", "Concat"), (of_one,))
