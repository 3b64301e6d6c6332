"""The model card of a bundle, in Markdown, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from multigraft.bundle.manifest import Manifest, Task
from multigraft.visible import visible


def model_card(manifest: Manifest) -> str:
    """What the bundle answers, what it is made of, and how well it keeps to the original networks."""
    provenance = manifest.provenance
    lines = [
        f"# {visible(manifest.name)}",
        "",
        "Several networks on shared segments, made by multigraft.",
        "",
        "## Tasks",
        "",
    ]
    lines += _table(
        ("task", "kind", "relation", "shared up to", "segments", "agreement with the float model"),
        (
            (t.name, t.kind, _relation(t), t.share_point or "-", " > ".join(t.segments), _agreement(t))
            for t in manifest.tasks
        ),
    )
    if joined := [(t.name, output.name, str(output)) for t in manifest.tasks for output in t.joined]:
        lines += ["", "## Outputs that are joined of parts, each with a scale of its own", ""]
        lines += _table(("task", "output", "is"), joined)
    lines += ["", "## Segments", ""]
    lines += _table(
        ("segment", "precision", "weights (bytes)", "MACs", "reads", "writes"),
        (
            (
                s.name,
                s.precision,
                f"{s.weights_bytes:,}",
                f"{s.macs:,}",
                ", ".join(s.inputs.values()),
                ", ".join(s.outputs.values()),
            )
            for s in manifest.segments
        ),
    )
    lines += ["", "## Tensors at the boundaries", ""]
    lines += _table(
        ("tensor", "shape", "type", "scale", "zero point"),
        (
            (
                t.name,
                " x ".join(map(str, t.shape)),
                t.dtype,
                "-" if t.scale is None else f"{t.scale:.6g}",
                "-" if t.scale is None else str(t.zero_point),
            )
            for t in manifest.tensors
        ),
    )
    checked = provenance.get("verification", {})
    lines += [
        "",
        "## Checks at build time",
        "",
        f"- Segments in turn equal the uncut model bit for bit on {checked.get('inputs', 0)} inputs"
        f" ({_versions(checked.get('backends', {}))}).",
    ]
    lines += [f"- {name} does not run this model: {why}." for name, why in checked.get("refused", {}).items()]
    if errors := checked.get("float_error"):
        lines.append(f"- The float model differs from ONNX by at most {max(errors.values()):.1e} of an output's range.")
    if worst := provenance.get("worst_layer"):
        own = worst["own_sqnr_db"]
        lines.append(f"- Worst layer of quantisation: {worst['tensor']} ({own:.1f} dB SQNR on its own).")
    lines += ["", "## Made with", "", _versions(provenance.get("tools", {})), ""]
    return "\n".join(lines)


def _relation(task: Task) -> str:
    return f"{task.relation} of {task.branch or task.donor}" if task.donor else task.relation


def _agreement(task: Task) -> str:
    measured = task.fidelity.get("quantised_agreement")
    return f"{measured['value']:.2%} of {measured['frames']} frames" if measured else "not measured"


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return lines + [f"| {' | '.join(visible(cell).replace('|', '/') for cell in row)} |" for row in rows]
