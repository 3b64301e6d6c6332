"""Summaries as a build writes them, from one task to six, for tests of the report."""

from __future__ import annotations

from typing import Any

TASKS = (
    ("garment", "donor", None, None),
    ("worn", "relative", "garment", "/blocks/blocks.2/Relu_1_output_0"),
    ("digit", "independent", "garment", "/blocks/blocks.1/Relu_1_output_0"),
    ("face_expression_of_the_nearest_person", "relative", "garment", "/features/features.12/conv/conv.2/Conv_output_0"),
    ("pose", "unshared", None, None),
    ("wake", "independent", "garment", "/stem/Relu_output_0"),
)


def sample(tasks: int = 3, *, labels: bool = True, energy: bool = False) -> dict[str, Any]:
    """A summary with ``tasks`` tasks, every section filled."""
    chosen = TASKS[:tasks]
    return {
        "name": "demo",
        "created": "2026-01-31T12:00:00Z",
        "version": "0.1.0",
        "bundle_bytes": 412_344,
        "tasks": [task(i, *parts, labels=labels) for i, parts in enumerate(chosen)],
        "weights_bytes": {"separate": 174_000 * tasks, "bundle": 174_000 + 96_000 * (tasks - 1)},
        "macs": {"separate": 13_100_000 * tasks, "bundle": 13_100_000 + 5_200_000 * (tasks - 1)},
        "pss_kib": {"separate": 18_212 + 900 * tasks, "bundle": 17_900, "samples": 5},
        "latency_us": {"separate": 412.5 * tasks, "bundle": 431.2 + 190 * (tasks - 1), "samples": 500},
        "energy": {"separate": 0.0041, "bundle": 0.0027, "samples": 30} if energy else None,
        "energy_reason": "no power sensor was found on this machine",
        "segments": {"inputs": 256, "mismatches": 0, "interpreters": ["ai-edge-litert 2.3.0", "tflite-runtime 2.14.0"]},
        "machine": {
            "name": "Raspberry Pi 5 Model B Rev 1.0",
            "architecture": "aarch64",
            "cores": 4,
            "system": "Debian GNU/Linux 12, Linux 6.6",
            "interpreter": "ai-edge-litert 2.3.0",
            "threads": 1,
        },
        "budget": {"min_agreement": 0.97, "confidence": 0.95, "max_weights_bytes": 500_000},
        "graph": graph(chosen),
        "pareto": [
            {
                "plan": f"{depth} of 4 blocks shared by {', '.join(name for name, *_ in chosen)}",
                "weights_bytes": 174_000 * tasks - 9_000 * depth**2 * tasks,
                "macs": 13_100_000 * tasks - 2_000_000 * depth * (tasks - 1),
                "agreement": {name: 1 - 0.0012 * depth**1.7 * i for i, (name, *_) in enumerate(chosen)},
                "lower_bound": {name: 1 - 0.003 - 0.0016 * depth**1.7 * i for i, (name, *_) in enumerate(chosen)},
                "chosen": depth == 2,
                "meets_budget": depth < 3,
            }
            for depth in range(4)
        ],
        "similarity": [
            {
                "first": first,
                "second": second,
                "first_points": [f"block{i}" for i in range(4)],
                "second_points": [f"block{i}" for i in range(4)],
                "unbiased": [[0.9 - 0.2 * abs(i - j) for i in range(4)] for j in range(4)],
                "frames": 512,
            }
            for first, second in (("garment", "worn"), ("garment", "digit"))[: tasks - 1]
        ],
        "layer_error": [
            {"tensor": f"/blocks.{i}/Conv", "operator": "CONV_2D", "own_sqnr_db": 24 + 7 * i % 16, "sqnr_db": 9}
            for i in range(16)
        ],
        "provenance": {"sources": {name: "3b" * 32 for name, *_ in chosen}, "tools": {"onnx2tf": "2.6.9"}},
    }  # fmt: skip


def task(i: int, name: str, relation: str, donor: str | None, point: str | None, *, labels: bool) -> dict[str, Any]:
    agreement = None
    if relation != "unshared":
        agreement = {"value": 1 - 0.0042 * i, "lower_bound": 0.998 - 0.0061 * i, "confidence": 0.95, "frames": 1536}
    accuracy = {"original": 0.932, "grafted": 0.932 - 0.002 * i, "int8": 0.93 - 0.002 * i, "raw": 0.13, "frames": 2000}
    return {
        "name": name,
        "kind": "classification",
        "relation": relation,
        "donor": donor,
        "share_point": point,
        "cka": 0.93 - 0.11 * i if point else None,
        "accuracy": accuracy if labels else None,
        "agreement": agreement,
        "int8_agreement": {"value": 0.99, "lower_bound": 0.985, "confidence": 0.95, "frames": 1536},
        "note": "" if relation != "unshared" else "no depth met the budget; it keeps its own network",
    }


def graph(tasks: Any) -> list[dict[str, Any]]:
    sharing = [name for name, relation, *_ in tasks if relation != "unshared"]
    deep = sharing[:2]
    segments = [
        {
            "name": "trunk",
            "inputs": [],
            "tasks": sharing,
            "weights_bytes": 21_400,
            "macs": 6_100_000,
            "latency_us": 121.3,
        }
    ]
    if len(deep) > 1:
        segments.append(
            {"name": "trunk_2", "inputs": ["trunk"], "tasks": deep, "weights_bytes": 74_100, "macs": 3_900_000}
        )
    for i, (name, relation, *_) in enumerate(tasks):
        parent = "trunk_2" if name in deep and len(deep) > 1 else "trunk"
        segments.append(
            {
                "name": f"head_{name}",
                "inputs": [] if relation == "unshared" else [parent],
                "tasks": [name],
                "weights_bytes": 81_000 + 13_000 * i,
                "macs": 3_100_000 + 700_000 * i,
                "latency_us": 72.5 + 8 * i,
            }
        )
    return segments
