"""A converter that gets one layer wrong: the refusal names that layer, by its name in the user's network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.converters.conversion.onnx2tf import to_tflite
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.packing.convert import convert
from multigraft.converters.quantising.precisions import Precision
from multigraft.errors import ConversionError
from multigraft.tflite.graph import Model
from tests.converters.packing.test_convert import COLOR, GREY, frames, many_operators


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_the_layer_that_was_converted_wrongly_is_named(
    precision: Precision, onnx2tf_environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: Any, **options: Any) -> Model:
        """What onnx2tf gives, with other weights in the convolution that has 3 channels at its end."""
        model = to_tflite(*arguments, **options)
        graph = model.main
        ends = [o for o in graph.ops if o.name == "CONV_2D" and graph.tensors[o.outputs[0]].shape[-1] == 3]
        if not ends:  # of the other network, where they are converted one by one
            return model
        [op] = ends
        weights = graph.tensors[op.inputs[1]]
        assert weights.data is not None
        changed = dataclasses.replace(weights, data=np.asarray(1.5 * weights.data, np.float32))
        graph = dataclasses.replace(graph, tensors={**graph.tensors, weights.name: changed})
        return dataclasses.replace(model, subgraphs=(graph, *model.subgraphs[1:]))

    monkeypatch.setattr("multigraft.converters.conversion.onnx2tf.to_tflite", wrong)
    given = {"color/image": frames(COLOR, 4), "grey/image": frames(GREY, 4)} if precision == "int8" else {}
    with pytest.raises(ConversionError, match=r"the first that differs is 'map/classes' of Conv.*differs by 0\.\d+ of"):
        convert(many_operators(), given, precision=precision, name="many", work_dir=tmp_path)
