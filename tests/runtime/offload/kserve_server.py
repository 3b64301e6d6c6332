"""KServe in front of a model repository: ``python kserve_server.py REPOSITORY PORT``, in an environment with kserve.

Nothing of multigraft is imported: what serves is KServe's own server and onnxruntime.
"""

import argparse
from pathlib import Path
from typing import Any

import onnxruntime as ort
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # type: ignore[import-not-found]

TYPES = {"tensor(uint8)": "UINT8", "tensor(int32)": "INT32", "tensor(float)": "FP32"}


class OnnxModel(Model):  # type: ignore[misc]
    """One folder of the repository."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.name)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(folder / "1" / "model.onnx"), options, ["CPUExecutionProvider"])
        self.ready = True

    async def get_input_types(self) -> list[dict[str, Any]]:
        return [_described(value) for value in self.session.get_inputs()]

    async def get_output_types(self) -> list[dict[str, Any]]:
        return [_described(value) for value in self.session.get_outputs()]

    def predict(self, payload: InferRequest, headers: Any = None, response_headers: Any = None) -> InferResponse:
        feeds = {given.name: given.as_numpy() for given in payload.inputs}
        names = [value.name for value in self.session.get_outputs()]
        outputs = []
        for name, values in zip(names, self.session.run(names, feeds), strict=True):
            output = InferOutput(name, list(values.shape), "FP32")
            output.set_data_from_numpy(values, binary_data=True)
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs)


def _described(value: Any) -> dict[str, Any]:
    shape = [d if isinstance(d, int) else -1 for d in value.shape]
    return {"name": value.name, "datatype": TYPES[value.type], "shape": shape}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("repository", type=Path)
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    models = [OnnxModel(folder) for folder in sorted(given.repository.iterdir()) if (folder / "1").is_dir()]
    ModelServer(http_port=given.port, enable_grpc=False, workers=1, access_log_format=None).start(models)
