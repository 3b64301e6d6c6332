"""The fresh process in which :mod:`multigraft.runtime.memory` measures; prints one line of JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from multigraft.runtime.backends import load_backend
from multigraft.runtime.engine import Engine
from multigraft.runtime.frames import blank_frames
from multigraft.runtime.memory import give_back_memory, library_kib, pss_kib
from multigraft.runtime.tflite_model import TfliteModel


def probe(job: dict[str, Any]) -> dict[str, int]:
    """Load and run what a job names; KiB of PSS on the way.

    Args:
        job: ``bundle``, or ``models`` and ``lets_go``; ``backend`` and ``threads``.
    """
    load_backend(job["backend"])
    # What importing left behind would be given back with the first model, and be counted as its saving.
    give_back_memory()
    imported = _kib()
    marks = []
    if "bundle" in job:
        engine = Engine(job["bundle"], job["threads"], job["backend"], self_test=False)
        marks.append(_kib())
        engine.run(blank_frames(engine.manifest))
        marks.append(_kib())
        loaded = marks[0]
    else:
        graphs = []
        for path in job["models"]:
            model = TfliteModel(path, job["backend"], job["threads"])
            graphs.append((model, model.subgraph()))
            if job["lets_go"]:
                model.let_go()
            marks.append(_kib())
        loaded = marks[-1]
        for _, graph in graphs:
            graph.invoke()
            marks.append(_kib())
    return {"imported_kib": imported, "loaded_kib": loaded, "peak_kib": max(marks)}


def _kib() -> int:
    return pss_kib() - library_kib()


if __name__ == "__main__":
    print(json.dumps(probe(json.loads(sys.argv[1]))))
