"""A trained network in, ONNX of any exporter or PyTorch, a clean and verified :class:`Network` out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from multigraft.answers.kind import Kind
from multigraft.converters.importing.consent import require_consent
from multigraft.converters.importing.float_outputs import cast_outputs
from multigraft.converters.importing.fold_input import fold_input
from multigraft.converters.importing.forms.constant_inputs import hold_constant
from multigraft.converters.importing.onnx_reader import read_onnx, sha256_of_file
from multigraft.converters.importing.simplify import INDEX_TYPES, only_input, simplify
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.advice import advice_on_preprocessing, check_labels
from multigraft.converters.network.answering import read_answers
from multigraft.converters.network.network import Network
from multigraft.converters.settings.foreign_formats import foreign_format
from multigraft.converters.settings.label_reader import CategoryNames
from multigraft.converters.settings.settings import MODEL_SUFFIXES, TaskSettings
from multigraft.errors import InputError
from multigraft.own_code import is_function
from multigraft.reading import regular_file
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.preparation import Preparation, network_shape
from multigraft.tensors.preprocessing import Preprocessing


def load_network(
    source: str | os.PathLike[str],
    *,
    name: str = "",
    preprocessing: Preparation | None = None,
    kind: Kind = "classification",
    labels: Sequence[str] = (),
    state: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] = ".",
    folds_input: bool = False,
    constants: Mapping[str, float] | None = None,
    trusts_code: bool = False,
    report: Report = silent,
) -> Network:
    """Read a network, clean its graph, and check that it still computes the same.

    Args:
        source: An .onnx file, a float .tflite file, a .pt2 exported program, or ``module:factory``, where
            ``factory()`` returns a torch.nn.Module.
        name: The task's name; the file's stem if empty.
        preprocessing: What the input expects of a frame. Without it the pixels are taken as 0..1, grey for one
            channel and RGB for three, at the fixed size of the input; inputs of other forms as arrays.
        kind: What the outputs mean.
        labels: One per class, or empty.
        state: State dict of a ``module:factory`` model: .pt, .pth or .safetensors.
        folder: Where the module of ``module:factory`` is looked for first.
        folds_input: Take colour order and normalisation into the first layer where that is exact; the network's
            ``preprocessing`` is what is left.
        constants: Inputs beside the frame that are the same for every frame, and the value of all of their elements.
        trusts_code: Agree to run what a .pt2 file or a ``module:factory`` holds; ``MULTIGRAFT_TRUST_CODE=1`` agrees,
            too.
        report: Takes a line for what was cast, dequantised, or looks wrong.

    Raises:
        InputError: The file is missing, damaged or not such a file, has not one input beside ``constants``, or
            contradicts ``preprocessing``.
        UnsupportedOperatorError: A node cannot be grafted or converted; it is named.
        ConversionError: The cleaned graph computes something else than the file.
        MissingDependencyError: PyTorch is needed and not installed.
        UsageError: The model runs code when it is opened, and nobody agreed to that.
    """
    text = os.fspath(source)
    path = Path(text)
    if foreign := foreign_format(path):
        raise InputError(f"{path} {foreign[0]}", foreign[1])
    if path.suffix.lower() == ".onnx" or (path.is_file() and path.suffix.lower() not in MODEL_SUFFIXES):
        with regular_file(path):
            listed = _headers(path)
        model, digest = read_onnx(path, report), sha256_of_file(path, listed)
    elif path.suffix.lower() == ".tflite" and path.is_file():
        from multigraft.converters.importing.tflite.reader import read_tflite

        model, digest = read_tflite(path, report, _in_file(preprocessing)), sha256_of_file(path)
    elif path.suffix.lower() == ".pt2":
        from multigraft.converters.importing.torch_export import export_program

        require_consent(text, trusts_code)
        model, digest = export_program(path), sha256_of_file(path)
    elif is_function(text):
        from multigraft.converters.importing.torch_export import export_factory

        if preprocessing is None:
            raise InputError(f"{text} does not tell its input size", "give its preprocessing")
        require_consent(text, trusts_code)
        shape = (1, *network_shape(preprocessing))
        model = export_factory(text, shape, None if state is None else Path(state), Path(folder))
        digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    elif path.exists():
        raise InputError(
            f"{path} is not a network", "give an .onnx or .tflite file, a .pt2 exported program or module:factory"
        )
    else:
        raise InputError(f"{path} does not exist", "check the path")
    hold_constant(model, constants or {}, text)
    preprocessing = preprocessing or default_preprocessing(model, text)
    clean = simplify(model, preprocessing, text)
    for output in cast_outputs(clean):
        report(f"note: output {output} of {path.name} is not float32 with the frame first; it becomes so")
    kept = {o.name for o in clean.graph.output}
    for output in (o.name for o in model.graph.output if o.name not in kept):
        report(f"note: output {output} of {path.name} is the same for every frame, and is left out")
    if folds_input and isinstance(preprocessing, Preprocessing):
        clean, preprocessing = fold_input(clean, preprocessing)
    said = {entry.key: entry.value for entry in model.metadata_props}
    return Network(name or path.stem.replace(":", "_"), clean, preprocessing, kind, labels, digest, said)


def load_task(
    task: TaskSettings, folder: str | os.PathLike[str], report: Report = silent, *, trusts_code: bool = False
) -> Network:
    """The network of one ``[[task]]`` of the settings file in ``folder``, its normalisation folded where exact.

    Raises:
        As :func:`load_network`; InputError too if there are more or fewer labels than outputs.
    """
    network = load_network(
        task.model,
        name=task.name,
        preprocessing=task.preprocessing,
        kind=task.kind,
        labels=task.labels,
        state=task.state,
        folder=folder,
        folds_input=True,
        constants=task.constants,
        trusts_code=trusts_code,
        report=report,
    )
    for sentence in (
        *check_labels(task.name, task.kind, task.labels, [network.shapes[o] for o in network.outputs]),
        *advice_on_preprocessing(task.name, task.preprocessing),
    ):
        report(f"warning: {sentence}")
    network.on = None if task.on is None else task.on.on
    ids = task.labels.ids if isinstance(task.labels, CategoryNames) else ()
    read_answers(network, task.answer, report, ids, Path(folder), trusts_code)
    return network


def default_preprocessing(model: onnx.ModelProto, where: str) -> Preparation:
    """Pixels 0..1 at the model's own size; arrays as they are where it takes no picture of 1 or 3 channels.

    Raises:
        InputError: The size is dynamic.
    """
    value = only_input(model, where)
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    is_whole = value.type.tensor_type.elem_type in INDEX_TYPES
    is_picture = len(dims) == 4 and (dims[1] in (1, 3) or dims[3] in (1, 3))
    if len(dims) > 1 and all(dims[1:]) and not is_picture:
        return ArrayPreparation(tuple(dims[1:]), values="int32" if is_whole else "float32")
    if len(dims) != 4:
        raise InputError(f"{where} has an input of dynamic or unusual shape {dims}", "give its preprocessing")
    channels, height, width = (dims[3], dims[1], dims[2]) if dims[1] not in (1, 3) else dims[1:]
    if channels not in (1, 3) or not height or not width:
        raise InputError(f"{where} has an input of dynamic or unusual shape {dims}", "give its preprocessing")
    return Preprocessing(height, width, "grey" if channels == 1 else "rgb", (0.0,) * channels, (1 / 255,) * channels)


def _in_file(preparation: Preparation | None) -> tuple[int, ...] | None:
    """Shape of a .tflite file's input without its batch: pictures have their channels last."""
    if preparation is None:
        return None
    shape = network_shape(preparation)
    return (*shape[1:], shape[0]) if isinstance(preparation, Preprocessing) else shape


def _headers(path: Path) -> onnx.ModelProto | None:
    """The model without its external data, which :func:`read_onnx` merges and so hides; None if unreadable."""
    try:
        return onnx.load(path, load_external_data=False)
    except Exception:
        return None
