"""``multigraft check``: what a network is, where each of its operators goes, and what stands in the way."""

from __future__ import annotations

import argparse
import math
import re
from typing import TYPE_CHECKING

from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.table import print_table
from multigraft.cli.shared.trust import add_trust_argument
from multigraft.errors import MultigraftError, UsageError

if TYPE_CHECKING:
    from multigraft.converters.importing.check import Checked, Row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", help="an .onnx file, a .tflite file or a .pt2 exported program")
    parser.add_argument(
        "--size",
        metavar="HEIGHTxWIDTH",
        help="of the input, pixels, where the file leaves them open (default: a usual size at which it runs); of "
        "other arrays, all dimensions behind the batch (default: 128 each)",
    )
    parser.add_argument(
        "--constant",
        metavar="INPUT=NUMBER",
        action="append",
        default=[],
        help="the value of an input beside the frame that is the same for every frame; may be given several times",
    )
    add_trust_argument(parser)


def execute(options: argparse.Namespace) -> int:
    """Print what was found; returns 0 if the network can be built, 2 if not."""
    from multigraft.converters.importing.check import check

    constants = dict(map(_constant, options.constant))
    checked = check(options.model, _size(options.size), constants, trusts_code=options.trust_code)
    if options.json:
        firmware = {row.operator: _firmware(row) for row in checked.rows}
        print(json_text({**checked.to_json(), "firmware": firmware, "can_be_built": not checked.problems}, indent=1))
    else:
        _print(checked)
    return MultigraftError.exit_code if checked.problems else 0


def _size(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if re.fullmatch(r"[1-9]\d{0,6}(x[1-9]\d{0,6})*", text) is None:
        raise UsageError(f"--size {text} is not understood", "write for instance 224x224")
    return tuple(map(int, text.split("x")))


def _constant(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise UsageError(f"--constant {text} is not understood", "write for instance rate=16000")
    return name, value


def _print(checked: Checked) -> None:
    opset = f"opset {checked.opset}" if checked.opset else "" if checked.exporter else "opset unknown"
    print(f"{checked.source}: {', '.join(filter(None, (opset, checked.exporter)))}")
    for name, values in (("input", checked.inputs), ("output", checked.outputs)):
        for value in values:
            print(f"  {name:<7} {value}")
    if checked.parameters is not None and checked.macs is not None:
        print(f"  {checked.parameters:,} parameters, {checked.macs:,} multiply-accumulates a frame")
    for note in checked.notes:
        print(f"  note: {note}")
    print()
    if checked.rows:
        print_table(
            "Operators",
            ("operator", "count", "TFLite", "int8", "firmware (every core)"),
            [
                (
                    row.operator,
                    f"{row.count:,}",
                    "cannot be converted" if row.becomes is None else ", ".join(row.becomes) or "constant",
                    "-" if row.becomes is None else "yes" if row.int8 else "stays float32",
                    "-" if row.becomes is None else _missing_text(_firmware(row)),
                )
                for row in checked.rows
            ],
        )
    if checked.cut_points:
        print_table(
            "Cut points",
            ("tensor", "shape", "parameters", "MACs"),
            [
                (p["name"], "x".join(map(str, p["shape"])), f"{p['parameters']:,}", f"{p['macs']:,}")
                for p in checked.cut_points
            ],
        )
    for problem in checked.problems:
        print(f"{problem.problem}; {problem.remedy}." if problem.remedy else f"{problem.problem}.")
    print("It cannot be built." if checked.problems else "It can be built.")


def _firmware(row: Row) -> list[str]:
    """TFLite operators of a row for which no core has a kernel; those that there are serve every core."""
    from multigraft.firmware_gen.operators import OPERATORS

    return [name for name in row.becomes or () if name not in OPERATORS]


def _missing_text(missing: list[str]) -> str:
    return f"lacks {', '.join(missing)}" if missing else "yes"
