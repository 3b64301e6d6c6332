"""A model repository as Triton and KServe load it: a folder per model with config.pbtxt and ``1/model.onnx``.

https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
from onnx import TensorProto

from multigraft import files
from multigraft.bundle.manifest import Manifest
from multigraft.converters.offload.tail import Tail
from multigraft.errors import UsageError
from multigraft.runtime.offload.wire import model_name

DECODER = "_decode"
_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.UINT8: "TYPE_UINT8",
    TensorProto.INT32: "TYPE_INT32",
}


def write_repository(folder: Path, manifest: Manifest, tail: Tail, anew: bool = False) -> list[Path]:
    """Write the rest of a task, and the decoder alone, beside the models that the repository holds.

    Args:
        folder: The repository; made where it is not there.
        manifest: Of the bundle.
        tail: What is served.
        anew: Write over models that are there.

    Returns:
        The folders of the two models.

    Raises:
        UsageError: One of them is there already, or cannot be removed.
    """
    name = model_name(manifest, tail.task, tail.cut)
    models = {name: tail.model, name + DECODER: tail.decoder}
    for called in models:
        if (folder / called).exists() and not anew:
            raise UsageError(f"{folder / called} is there already", "remove it, or choose another repository")
    folder.mkdir(parents=True, exist_ok=True)
    said = _parameters(manifest, tail.task, tail.cut)
    for called, model in models.items():
        with files.new_folder(folder / called) as made:
            (made / "1").mkdir()
            (made / "1" / "model.onnx").write_bytes(model.SerializeToString())
            (made / "config.pbtxt").write_text(config(called, model, said), "utf-8")
            _remove(folder / called)
    return [folder / called for called in models]


def is_of(folder: Path, manifest: Manifest, task: str, cut: str) -> bool:
    """Whether a folder of the repository holds the rest of this task behind this cut, whole."""
    try:
        text = (folder / "config.pbtxt").read_text("utf-8")
    except (OSError, ValueError):
        return False
    lines = text.splitlines()
    said = all(_parameter(key, value) in lines for key, value in _parameters(manifest, task, cut).items())
    return said and (folder / "1" / "model.onnx").is_file()


def _parameters(manifest: Manifest, task: str, cut: str) -> dict[str, str]:
    return {"bundle": manifest.name, "task": task, "cut": cut}


def _parameter(key: str, value: str) -> str:
    return f"parameters {{ key: {_text(key)} value {{ string_value: {_text(value)} }} }}"


def _remove(folder: Path) -> None:
    if not folder.exists():
        return
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be removed ({error.strerror})", "choose another repository") from error


def config(name: str, model: onnx.ModelProto, parameters: dict[str, str]) -> str:
    """Triton's description of a model, in the text form of protocol buffers."""
    lines = [f"name: {_text(name)}", 'backend: "onnxruntime"', "max_batch_size: 0"]
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        entries = [_tensor(value) for value in values]
        lines.append(f"{kind} [\n" + ",\n".join(entries) + "\n]")
    for key, value in parameters.items():
        lines.append(_parameter(key, value))
    return "\n".join(lines) + "\n"


def _tensor(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    dims = ", ".join(str(d.dim_value or -1) for d in tensor.shape.dim)
    return f"  {{ name: {_text(value.name)} data_type: {_TYPES[tensor.elem_type]} dims: [ {dims} ] }}"


def _text(text: str) -> str:
    """A string in quotes: JSON's escapes for what is printable are those of the text form."""
    return json.dumps(text, ensure_ascii=False)
