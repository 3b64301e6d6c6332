"""``multigraft inspect``: what a bundle holds."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.table import print_table

if TYPE_CHECKING:
    from multigraft.bundle.manifest import Manifest, Task

_COMPARED = {"entropy": "<=", "change": "<=", "far": ">"}
"""How a value is compared with the threshold, by rule; the others are taken from it on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("bundle", help="a .graft file or a deployed folder")


def execute(options: argparse.Namespace) -> int:
    """Print the tables, or with ``--json`` the manifest and its totals."""
    from multigraft.bundle.bundle import Bundle

    manifest = Bundle.open(options.bundle).manifest
    if options.json:
        print(json_text({**manifest.to_json(), "totals": totals(manifest)}, indent=1))
        return 0
    sums = totals(manifest)
    print(
        f"{manifest.name}: {sums['tasks']} tasks, {sums['segments']} segments, {sums['macs']:,} MACs, "
        f"{sums['weights_bytes']:,} bytes of weights, {sums['file_bytes']:,} bytes of files\n"
    )
    print_table(
        "Tasks",
        ("task", "kind", "relation", "shares", "classes", "segments", "MACs", "outputs"),
        [
            (
                task.name,
                task.kind,
                task.relation,
                _shares(task),
                str(len(task.labels) or "-"),
                " > ".join(task.segments),
                f"{sum(manifest.segment(name).macs for name in task.segments):,}",
                ", ".join(task.outputs),
            )
            for task in manifest.tasks
        ],
    )
    if joined := [(task.name, output) for task in manifest.tasks for output in task.joined]:
        print_table(
            "Outputs that are joined of parts",
            ("task", "output", "is"),
            [(task, output.name, str(output)) for task, output in joined],
        )
    print_table(
        "Segments",
        ("segment", "precision", "weights (bytes)", "MACs", "operators", "reads", "writes"),
        [
            (
                segment.name,
                segment.precision,
                f"{segment.weights_bytes:,}",
                f"{segment.macs:,}",
                ", ".join(f"{count} {name}" for name, count in segment.operators.items()),
                ", ".join(segment.inputs.values()),
                ", ".join(segment.outputs.values()),
            )
            for segment in manifest.segments
        ],
    )
    _print_exits(manifest)
    _print_choices(manifest)
    if manifest.fallback is not None:
        print_table(
            "Segments of the fallback, for where the first model cannot run",
            ("segment", "precision", "weights (bytes)", "MACs", "operators"),
            [
                (
                    segment.name,
                    segment.precision,
                    f"{segment.weights_bytes:,}",
                    f"{segment.macs:,}",
                    ", ".join(f"{count} {name}" for name, count in segment.operators.items()),
                )
                for segment in manifest.fallback.segments
            ],
        )
    print_table(
        "Tensors between segments",
        ("tensor", "shape", "type", "scale", "zero point"),
        [
            (
                tensor.name,
                "x".join(map(str, tensor.shape)),
                tensor.dtype,
                "-" if tensor.scale is None else f"{tensor.scale:.6g}",
                "-" if tensor.scale is None else str(tensor.zero_point),
            )
            for tensor in manifest.tensors
        ],
    )
    _print_inputs(manifest)
    print_table(
        "Files",
        ("file", "bytes", "SHA-256"),
        [(name, f"{entry.size:,}", entry.sha256[:16]) for name, entry in manifest.files.items()],
    )
    fidelity = [(task.name, key, value) for task in manifest.tasks for key, value in _flat(task.fidelity)]
    if fidelity:
        print_table("Fidelity, as measured at build time", ("task", "figure", "value"), fidelity)
    if manifest.provenance:
        print_table("Provenance", ("of", "value"), _flat(_without_bill(manifest.provenance)))
    return 0


def _without_bill(provenance: dict[str, Any]) -> dict[str, Any]:
    """The software bill of materials is long; a count stands in its place."""
    bill = provenance.get("sbom")
    if not isinstance(bill, dict) or not isinstance(bill.get("components"), list):
        return provenance
    return {**provenance, "sbom": f"CycloneDX, {len(bill['components'])} components (all of it with --json)"}


def _print_exits(manifest: Manifest) -> None:
    exits = [(task, found) for task in manifest.tasks for found in task.exits]
    if not exits:
        return
    print_table(
        "Early exits and gates: of the frames that tested the threshold, those that took it, and those that disagreed",
        ("exit", "task", "MACs to it", "rule", "temperature", "threshold", "taken", "disagreed", "promise", "audited"),
        [
            (
                e.segment, task.name, f"{_macs_to(manifest, task, e.segment):,}", e.rule, f"{e.temperature:.4g}",
                f"{_COMPARED.get(e.rule, '>=')} {e.threshold:.6g}",
                f"{e.promise.taken:,} of {e.promise.reached:,}", f"{e.promise.disagreed:,}",
                f"{100 * e.promise.max_disagreement:g} % {e.promise.kind} at {100 * e.promise.confidence:g} %",
                f"{100 * e.audited:g} %",
            )
            for task, e in exits
        ],
    )  # fmt: skip


def _print_choices(manifest: Manifest) -> None:
    choices = [(task.name, task.offload) for task in manifest.tasks if task.offload is not None]
    if not choices:
        return
    rows = [
        (
            name, c.cut or "nothing (stays local)", str(c.bits or "-"), c.link, f"{c.total_us:,.0f}",
            f"{c.local_us:,.0f}", "-" if c.agreement is None else f"{100 * c.agreement:.1f} % of {c.frames:,}",
        )
        for name, c in choices
    ]  # fmt: skip
    head = ("task", "what travels", "bits", "link", "then (us)", "local (us)", "agreement")
    print_table("What a server is sent, as the build chose", head, rows)


def _macs_to(manifest: Manifest, task: Task, segment: str) -> int:
    """MACs of a frame that takes this exit, earlier ones included."""
    order = [s.name for s in manifest.segments]
    return sum(manifest.segment(s).macs for s in task.all_segments if order.index(s) <= order.index(segment))


def _print_inputs(manifest: Manifest) -> None:
    from multigraft.tensors.array_preparation import ArrayPreparation
    from multigraft.tensors.preprocessing import Preprocessing

    pictures = [(i.tensor, i.preprocessing) for i in manifest.inputs if isinstance(i.preprocessing, Preprocessing)]
    arrays = [(i.tensor, i.preprocessing) for i in manifest.inputs if isinstance(i.preprocessing, ArrayPreparation)]
    if pictures:
        print_table(
            "Inputs",
            ("tensor", "height", "width", "color", "mean", "scale", "resize", "pad", "interpolation"),
            [
                (
                    tensor, str(p.height), str(p.width), p.color, _numbers(p.mean), _numbers(p.scale), p.resize,
                    "mean" if p.pad is None else str(p.pad), p.interpolation,
                )
                for tensor, p in pictures
            ],
        )  # fmt: skip
    if arrays:
        print_table(
            "Inputs that are no pictures",
            ("tensor", "row", "values", "mean", "scale", "axis"),
            [
                (
                    tensor, "x".join(map(str, p.shape)), p.values, _numbers(p.mean), _numbers(p.scale),
                    "-" if len(p.mean) == len(p.scale) == 1 else str(p.axis),
                )
                for tensor, p in arrays
            ],
        )  # fmt: skip

    hearing = [(tensor, p.sound) for tensor, p in arrays if p.sound is not None]
    if hearing:
        print_table(
            "Inputs that are made of sound",
            ("tensor", "rate (Hz)", "window", "step", "fft", "bands", "low (Hz)", "high (Hz)", "floor", "rows", "hop"),
            [
                (
                    tensor, str(f.rate_hz), str(f.window), str(f.step), str(f.fft), str(f.bands), f"{f.low_hz:g}",
                    f"{f.high_hz:g}", f"{f.floor:g}", str(sound.rows), str(sound.hop),
                )
                for tensor, sound in hearing
                for f in (sound.front_end,)
            ],
        )  # fmt: skip


def _numbers(values: tuple[float, ...]) -> str:
    """A few numbers as they are, many by their range."""
    if len(values) > 8:
        return f"{len(values)} numbers, {min(values):.6g} to {max(values):.6g}"
    return " ".join(f"{value:.6g}" for value in values)


def totals(manifest: Manifest) -> dict[str, int]:
    """Sums over the bundle: tasks, segments, MACs (all segments once), bytes of weights and of files."""
    return {
        "tasks": len(manifest.tasks),
        "segments": len(manifest.segments),
        "macs": sum(segment.macs for segment in manifest.segments),
        "weights_bytes": sum(segment.weights_bytes for segment in manifest.segments),
        "file_bytes": sum(entry.size for entry in manifest.files.values()),
    }


def _shares(task: Task) -> str:
    if task.donor is None:
        return "-"
    giver = task.branch or task.donor
    return f"{giver} up to {task.share_point}" if task.share_point else giver


def _flat(data: Any, place: str = "") -> list[tuple[str, str]]:
    """Nested plain data as (dotted place, value) lines."""
    if isinstance(data, dict):
        return [line for key, value in data.items() for line in _flat(value, f"{place}.{key}" if place else str(key))]
    if isinstance(data, list) and data and any(isinstance(item, dict | list) for item in data):
        return [line for number, item in enumerate(data) for line in _flat(item, f"{place}[{number}]")]
    if isinstance(data, list):
        return [(place, ", ".join(map(str, data)))]
    return [(place, f"{data:.6g}" if isinstance(data, float) else str(data))]
