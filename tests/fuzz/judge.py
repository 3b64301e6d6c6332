"""Judges graphs in a process that runs none itself, so that each can be judged in a fork of it.

``python -m tests.fuzz.judge FOLDER`` reads pickled (graph, precision) and writes pickled verdicts. Whoever draws graphs
runs onnxruntime, whose threads a fork would lose.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

from multigraft.converters.conversion import onnx2tf_environment
from multigraft.converters.quantising.precisions import Precision
from tests.fuzz.converting import Served
from tests.fuzz.graphs import Graph
from tests.fuzz.judging import Verdict, judge_in_fork

ROOT = Path(__file__).parents[2]


class Judge:
    """The process, with one start of onnx2tf for all graphs.

    Args:
        folder: For the files of one graph at a time.
    """

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.fuzz.judge", str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)

    def __call__(self, graph: Graph, precision: Precision = "float32") -> Verdict:
        """What becomes of the graph."""
        assert self._process.stdin is not None and self._process.stdout is not None
        pickle.dump((graph, precision), self._process.stdin)
        self._process.stdin.flush()
        verdict: Verdict = pickle.load(self._process.stdout)
        return verdict

    def close(self) -> int:
        """End the process; returns its exit code."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait()


def _serve(folder: Path) -> None:
    requests = os.fdopen(os.dup(0), "rb")
    verdicts = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    served = Served(onnx2tf_environment.ensure(), folder)
    while requests.peek(1):
        graph, precision = pickle.load(requests)
        pickle.dump(judge_in_fork(graph, served, precision), verdicts)
        verdicts.flush()
    served.close()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
