"""Triton in front of a model repository: ``python triton_server.py REPOSITORY PORT``, in an environment with
nvidia-pytriton and onnxruntime, made by Debian's own Python 3.11.

PyTriton brings NVIDIA's tritonserver along, with its HTTP front end, queue and checks, but not its ONNX Runtime
backend. So each model is a function that runs the repository's ``model.onnx`` by onnxruntime, with the types and
shapes that the file declares. Nothing of multigraft is imported.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from pytriton.model_config import ModelConfig, Tensor  # type: ignore[import-not-found]
from pytriton.triton import Triton, TritonConfig  # type: ignore[import-not-found]

TYPES = {"tensor(uint8)": np.uint8, "tensor(int32)": np.int32, "tensor(float)": np.float32}


def session_of(folder: Path) -> ort.InferenceSession:
    """One folder of the repository."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(folder / "1" / "model.onnx"), options, ["CPUExecutionProvider"])


def answering(session: ort.InferenceSession) -> Callable[[list[Any]], list[dict[str, Any]]]:
    """What PyTriton calls with requests."""
    names = [value.name for value in session.get_outputs()]

    def infer(requests: list[Any]) -> list[dict[str, Any]]:
        return [dict(zip(names, session.run(names, dict(request.items())), strict=True)) for request in requests]

    return infer


def described(values: Any) -> list[Any]:
    """Inputs or outputs as Triton's model configuration has them."""
    return [
        Tensor(name=v.name, dtype=TYPES[v.type], shape=tuple(d if isinstance(d, int) else -1 for d in v.shape))
        for v in values
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("repository", type=Path)
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    config = TritonConfig(http_port=given.port, http_address="127.0.0.1", allow_grpc=False, allow_metrics=False)
    with Triton(config=config) as triton:
        for folder in sorted(given.repository.iterdir()):
            if (folder / "1").is_dir():
                session = session_of(folder)
                triton.bind(
                    model_name=folder.name,
                    infer_func=answering(session),
                    inputs=described(session.get_inputs()),
                    outputs=described(session.get_outputs()),
                    config=ModelConfig(batching=False),
                )
        triton.serve()
