"""The fresh process in which :mod:`multigraft.runtime.memory` measures; prints one line of JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from multigraft.runtime.backends import load_backend
from multigraft.runtime.engine import Engine
from multigraft.runtime.frames import blank_frames
from multigraft.runtime.memory import give_back_memory, let_go_of_code, pss_kib
from multigraft.runtime.tflite_model import TfliteModel


def probe(job: dict[str, Any]) -> dict[str, int]:
    """Load and run what ``job`` names (``bundle``, or ``models``; ``backend``, ``threads``); PSS in KiB on the way."""
    load_backend(job["backend"])
    # What importing left behind would be given back with the first model, and be counted as its saving.
    let_go_of_code()
    give_back_memory()
    imported = pss_kib()
    marks = []
    if "bundle" in job:
        engine = Engine(job["bundle"], job["threads"], job["backend"], self_test=False)
        marks.append(pss_kib())
        engine.run(blank_frames(engine.manifest))
        marks.append(pss_kib())
        loaded = marks[0]
    else:
        graphs = []
        for path in job["models"]:
            model = TfliteModel(path, job["backend"], job["threads"])
            graphs.append((model, model.subgraph()))
            marks.append(pss_kib())
        # An engine does so; code that only loading needs is not what sharing saves.
        let_go_of_code()
        loaded = marks[-1]
        for _, graph in graphs:
            graph.invoke()
            marks.append(pss_kib())
    return {"imported_kib": imported, "loaded_kib": loaded, "peak_kib": max(marks)}


if __name__ == "__main__":
    print(json.dumps(probe(json.loads(sys.argv[1]))))
