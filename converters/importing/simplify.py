"""A clean graph out of what an exporter wrote: fixed batch, constants and batch norms folded, dead code gone.

Whatever was rewritten is compared with the model as it was read, in onnxruntime on frames as a camera makes them.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.version_converter
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from multigraft.converters.importing.batch_norm import fold_batch_norms
from multigraft.converters.importing.channels_first import read_channels_first
from multigraft.converters.importing.equivalence import runner
from multigraft.converters.importing.forms.constant_outputs import leave_out_constant_outputs
from multigraft.converters.importing.forms.constant_ways import write_out_constant_ways
from multigraft.converters.importing.forms.fixed_batch import to_one_frame
from multigraft.converters.importing.forms.inputs import fed_inputs
from multigraft.converters.importing.forms.neutral_bounds import leave_out_neutral_bounds
from multigraft.converters.importing.known_operators import refuse_unknown
from multigraft.converters.importing.node_names import label
from multigraft.converters.importing.old_operators import flatten_softmax, mend_resize
from multigraft.converters.importing.onnx_reader import DEFAULT_DOMAINS, refuse_unsupported
from multigraft.converters.importing.open_size import usual_size
from multigraft.converters.importing.probe_frames import COUNT, probe_frames
from multigraft.converters.importing.saturation import before_saturation
from multigraft.converters.importing.tensor_sizes import refuse_large_tensors
from multigraft.converters.network.closeness import TOLERANCE, difference
from multigraft.converters.network.steps import has_steps
from multigraft.errors import ConversionError, InputError, MissingDependencyError, UnsupportedOperatorError, one_line
from multigraft.installing import how_missing, install_extra, repair
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.preparation import Preparation, network_shape, prepare_frames, random_frame
from multigraft.tensors.preprocessing import Preprocessing

OPSET = 20
"""All networks are brought to this operator set, so that their graphs can be joined; conversion upward is reliable."""

OLDEST_OPSET = 13
"""Networks that cannot be brought to OPSET are taken as they are from here on."""

LARGEST_INPUT = 1 << 25
"""Numbers that an input may take, all frames of its batch together: a 4K picture in colour is 25 million."""

_PIXEL_CHANNELS = (1, 3)
_INTEGERS = (TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64)

INDEX_TYPES = (TensorProto.INT32, TensorProto.INT64)
"""Types of inputs that hold class numbers or letters rather than measured values."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RawInput:
    """The input as the exporter wrote it.

    Attributes:
        name: Tensor name.
        batch: Its fixed batch, or 1.
        is_channels_last: NHWC instead of NCHW.
        dtype: Of its elements.
    """

    name: str
    batch: int
    is_channels_last: bool
    dtype: np.dtype[Any]

    def feed(self, x: Array) -> dict[str, npt.NDArray[Any]]:
        """One frame (1, *input shape; pictures channels first) as the raw model takes it."""
        y = x.transpose(0, 2, 3, 1) if self.is_channels_last else x
        return {self.name: np.repeat(y, self.batch, axis=0).astype(self.dtype)}


def simplify(model: onnx.ModelProto, preprocessing: Preparation, where: str) -> onnx.ModelProto:
    """Clean a model whose raw form stays untouched.

    Args:
        model: As :func:`~multigraft.converters.importing.onnx_reader.read_onnx` gave it.
        preprocessing: Sets dynamic sizes; fixed ones have to agree with it.
        where: File name, for messages.

    Raises:
        InputError: Not one input, sizes that contradict ``preprocessing``, or onnxruntime refuses it.
        UnsupportedOperatorError: A node cannot be grafted or converted.
        ConversionError: A rewritten graph computes something else.
    """
    clean = onnx.ModelProto()
    clean.CopyFrom(model)
    raw = fix_input(clean, preprocessing, where)
    refuse_large_tensors(clean, where)
    try:
        reference = _reference(model, raw, preprocessing, where)
    except InputError as error:
        raise _named_size(model, preprocessing, error) from error
    clean = write_out_constant_ways(clean)
    reason = ""
    attempts = [_slim, _slim_without_fusion, _slim_after_onnxruntime]
    if has_steps(clean):
        attempts.insert(0, _slim_apart)
    for attempt in attempts:
        try:
            candidate = attempt(clean)
        except MissingDependencyError:
            raise
        except Exception as error:
            reason = reason or one_line(error)
            continue
        refuse_unsupported(candidate, where)
        refuse_unknown(candidate, where)
        if (worst := _difference(candidate, reference, where)) <= TOLERANCE:
            return candidate
        if _equals_before_saturation(candidate, model, raw, preprocessing, where):
            return candidate
        reason = f"outputs differ by {worst:.2g} of their size"
    refuse_unsupported(clean, where)
    raise ConversionError(
        f"{where} cannot be simplified ({reason})", "simplify it with onnxslim or onnxsim first, or report this model"
    )


def image_input(model: onnx.ModelProto, where: str) -> onnx.ValueInfoProto:
    """The one 4-dimensional input.

    Raises:
        InputError: There are several, none, or it is no image.
    """
    picture = only_input(model, where)
    rank = len(picture.type.tensor_type.shape.dim)
    if rank != 4:
        raise InputError(
            f"{where}: input {picture.name} has {rank} dimensions, and pictures have 4",
            "give its preprocessing a shape in place of size and color",
        )
    return picture


def only_input(model: onnx.ModelProto, where: str) -> onnx.ValueInfoProto:
    """The one input.

    Raises:
        InputError: There are several, or none.
    """
    inputs = fed_inputs(model.graph)
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs) or "none"
        raise InputError(
            f"{where} has {len(inputs)} inputs ({names})",
            "give the value of every one but the frame's as constants, or a network with one input",
        )
    return inputs[0]


def fix_input(model: onnx.ModelProto, preprocessing: Preparation, where: str) -> RawInput:
    """Make the input float32 (1, *shape; pictures channels first) in place; returns what it was."""
    value, shape = only_input(model, where), network_shape(preprocessing)
    is_last = False
    if isinstance(preprocessing, ArrayPreparation):
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        pairs = zip(dims[1:], shape, strict=False)
        if len(dims) != len(shape) + 1 or any(have and have != wanted for have, wanted in pairs):
            takes, makes = (" x ".join(str(d or "any") for d in s) for s in (dims[1:], shape))
            raise InputError(
                f"{where} takes {takes or 'one number'} behind its batch and its preprocessing makes {makes}",
                "correct shape of the preprocessing",
            )
    else:
        value = image_input(model, where)
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        is_last = dims[3] in _PIXEL_CHANNELS and dims[1] not in _PIXEL_CHANNELS
        taken = (dims[3], dims[1], dims[2]) if is_last else (dims[1], dims[2], dims[3])
        if any(have and have != wanted for have, wanted in zip(taken, shape, strict=True)):
            raise InputError(
                f"{where} takes {_size(taken)} and its preprocessing makes {_size(shape)}",
                "correct size and color of the preprocessing",
            )
    kind = value.type.tensor_type.elem_type
    if (dims[0] or 1) * math.prod(shape) > LARGEST_INPUT:
        raise InputError(
            f"{where} takes {(dims[0] or 1) * math.prod(shape):,} numbers at once and may take {LARGEST_INPUT:,}",
            "export it for one frame, at a size that a camera gives",
        )
    if kind not in TensorProto.DataType.values() or kind == TensorProto.UNDEFINED:
        raise InputError(f"{where}: input {value.name} is of type {kind}, which is not known", "export it again")
    raw = RawInput(value.name, dims[0] or 1, is_last, np.dtype(helper.tensor_dtype_to_np_dtype(kind)))
    users = [n for n in model.graph.node if value.name in n.input]
    if isinstance(preprocessing, ArrayPreparation) and preprocessing.values == "int32":
        _refuse_real_numbers(raw, kind, where)
    elif kind != TensorProto.FLOAT and not (kind in _INTEGERS and all(n.op_type == "Cast" for n in users)):
        node = f", read by {label(users[0])}" if users else ""
        raise UnsupportedOperatorError(
            f"{where}: input {value.name} is {raw.dtype}, not float32{node}", "export the network with a float32 input"
        )
    to_one_frame(model.graph, raw.batch)
    # Below version 4 of the format, initialisers have to be inputs as well.
    model.ir_version = max(model.ir_version, 4)
    kept = fed_inputs(model.graph)
    del model.graph.input[:]
    model.graph.input.extend(kept)
    is_whole = isinstance(preprocessing, ArrayPreparation) and preprocessing.values == "int32"
    stored = TensorProto.INT32 if is_whole else TensorProto.FLOAT
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info(value.name, stored, [1, *shape]))
    if is_whole and kind != TensorProto.INT32:
        _cast_for(model.graph, value.name, kind, users)
    if is_last:
        read_channels_first(model.graph, value.name, users, shape[0])
    for output in model.graph.output:
        if output.type.tensor_type.shape.dim:
            output.type.tensor_type.shape.dim[0].Clear()
            output.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    return raw


def _refuse_real_numbers(raw: RawInput, kind: int, where: str) -> None:
    if kind not in _INTEGERS:
        raise InputError(
            f"{where}: input {raw.name} is {raw.dtype}, and its preprocessing says values = int32",
            "leave values out",
        )


def _cast_for(graph: onnx.GraphProto, name: str, kind: int, users: Sequence[onnx.NodeProto]) -> None:
    """Let the readers of an int32 input read it in the type they were made for."""
    cast = f"{name}/cast"
    for node in users:
        node.input[:] = [cast if read == name else read for read in node.input]
    graph.node.insert(0, helper.make_node("Cast", [name], [cast], cast, to=kind))


def _size(shape: tuple[int, ...]) -> str:
    channels, height, width = (str(d) if d else "any" for d in shape)
    return f"{height} x {width} pixels of {channels} channels"


def _slim(model: onnx.ModelProto) -> onnx.ModelProto:
    return _finish(_onnxslim(_at_opset(model)))


def _slim_apart(model: onnx.ModelProto) -> onnx.ModelProto:
    """Nothing folded into layers of -a and a, whose sums a step is made of."""
    return _finish(_onnxslim(_at_opset(model), skip_optimizations=["graph_fusion"]), keeps_binary=True)


def _slim_without_fusion(model: onnx.ModelProto) -> onnx.ModelProto:
    return _finish(_onnxslim(_at_opset(model), skip_optimizations=["graph_fusion"]))


def _slim_after_onnxruntime(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let onnxruntime fold the constants first: shape arithmetic with integer division comes out wrong in onnxslim."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        ort.InferenceSession(_at_opset(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(options.optimized_model_filepath)
    return _finish(_onnxslim(folded))


def _onnxslim(model: onnx.ModelProto, **options: Any) -> onnx.ModelProto:
    try:
        import onnxslim
    except Exception as error:
        raise MissingDependencyError(
            f"import needs onnxslim, which is {how_missing(error)}", repair(error, install_extra("convert"))
        ) from error
    slim: onnx.ModelProto = onnxslim.slim(model, **options)
    return slim


def _at_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    version = next((o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS), 0)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if version == OPSET:
        return copy
    flatten_softmax(copy, version)
    try:
        converted = onnx.version_converter.convert_version(copy, OPSET)
        mend_resize(converted, version)
        return converted
    except Exception:
        if version < OLDEST_OPSET:
            raise
        return copy


def _finish(model: onnx.ModelProto, keeps_binary: bool = False) -> onnx.ModelProto:
    graph = model.graph
    for node in [n for n in graph.node if n.op_type == "Constant"]:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if value is not None:
            graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value), node.output[0]))
            graph.node.remove(node)
    leave_out_neutral_bounds(graph)
    fold_batch_norms(model, keeps_binary)
    read = {i for n in graph.node for i in n.input} | {o.name for o in graph.output}
    used = [i for i in graph.initializer if i.name in read]
    del graph.initializer[:]
    graph.initializer.extend(used)
    leave_out_constant_outputs(model)
    del graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model)
    return model


Reference = tuple[list[Array], list[dict[str, npt.NDArray[Any]]]]


def _reference(model: onnx.ModelProto, raw: RawInput, preprocessing: Preparation, where: str) -> Reference:
    """Inputs and what the model answers as it was read, one frame each."""
    if isinstance(preprocessing, ArrayPreparation):
        rng = np.random.default_rng(0)
        inputs = [prepare_frames([random_frame(preprocessing, rng)], preprocessing) for _ in range(COUNT)]
        if raw.dtype.kind in "iu" and preprocessing.values == "float32":
            inputs = [rng.integers(0, 100, x.shape).astype(np.float32) for x in inputs]
    else:
        inputs = _pictures(raw, preprocessing)
    run = runner(model, where)
    names = [o.name for o in model.graph.output]
    answers = [[o[:1] if o.ndim and len(o) == raw.batch else o for o in run(raw.feed(x))] for x in inputs]
    return inputs, [dict(zip(names, values, strict=True)) for values in answers]


def _named_size(model: onnx.ModelProto, preprocessing: Preparation, error: InputError) -> InputError:
    """``error``, with a size that runs where the file leaves its size open."""
    if not isinstance(preprocessing, Preprocessing):
        return error
    height, width, size = preprocessing.height, preprocessing.width, usual_size(model)
    if size is None or size == (height, width):
        return error
    return InputError(
        f"{error.problem} (at {height} x {width} pixels)",
        f"give size = [{size[0]}, {size[1]}] in its preprocessing, at which it runs, or another that it takes",
    )


def _pictures(raw: RawInput, preprocessing: Preprocessing) -> list[Array]:
    frames = probe_frames(preprocessing.height, preprocessing.width, preprocessing.channels)
    pixels = frames.transpose(0, 3, 1, 2)[:, None]
    if raw.dtype.kind in "iu":
        return [p.astype(np.int8 if raw.dtype == np.int8 else np.uint8).astype(np.float32) for p in pixels]
    mean, scale = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (preprocessing.mean, preprocessing.scale))
    return [((p - mean) * scale).astype(np.float32) for p in pixels]


def _difference(model: onnx.ModelProto, reference: Reference, where: str) -> float:
    run, name = runner(model, where), model.graph.input[0].name
    kept = [o.name for o in model.graph.output]
    pairs = ((run({name: x}), [answers[o] for o in kept]) for x, answers in zip(*reference, strict=True))
    return max(difference(new, expected) for new, expected in pairs)


def _equals_before_saturation(
    new: onnx.ModelProto, model: onnx.ModelProto, raw: RawInput, preprocessing: Preparation, where: str
) -> bool:
    (new, ends), (old, old_ends) = before_saturation(new), before_saturation(model)
    if not ends or ends != old_ends & {o.name for o in new.graph.output}:
        return False
    return _difference(new, _reference(old, raw, preprocessing, where), where) <= TOLERANCE
