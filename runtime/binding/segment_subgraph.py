"""A segment of the manifest as a subgraph of the model, which have to say the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multigraft.bundle.manifest import Segment
from multigraft.errors import BundleError
from multigraft.runtime.tflite_model import Subgraph, TfliteModel
from multigraft.tensors.specs import TensorSpec


def subgraph_of(model: TfliteModel, segment: Segment, tensors: Mapping[str, TensorSpec]) -> Subgraph:
    """The subgraph of a segment, allocated.

    Args:
        model: The interpreter.
        segment: As the manifest describes it.
        tensors: Name to what the manifest says of a tensor.

    Raises:
        BundleError: The model has no such signature, or other tensors than described.
    """
    if segment.signature not in model.signatures:
        raise BundleError(
            f"segment {segment.name} needs signature {segment.signature!r}, which model.tflite does not have",
            "build the bundle again",
        )
    subgraph = model.subgraph(segment.signature)
    for arrays, arguments in ((subgraph.inputs, segment.inputs), (subgraph.outputs, segment.outputs)):
        if set(arrays) != set(arguments):
            raise BundleError(
                f"segment {segment.name} is described with arguments {sorted(arguments)} and model.tflite has "
                f"{sorted(arrays)}",
                "build the bundle again",
            )
        for argument, name in arguments.items():
            spec, array = tensors[name], arrays[argument]
            if spec.shape != array.shape or spec.dtype != array.dtype:
                raise BundleError(
                    f"tensor {name} is described as {spec.dtype} {spec.shape} and is {array.dtype} {array.shape}",
                    "build the bundle again",
                )
            if spec.scale is not None:
                scale, zero_point = subgraph.scales[argument]
                if np.float32(spec.scale) != np.float32(scale) or spec.zero_point != zero_point:
                    raise BundleError(
                        f"tensor {name} is described with scale {spec.scale} and zero point {spec.zero_point} and "
                        f"has {scale} and {zero_point}",
                        "build the bundle again",
                    )
    return subgraph
