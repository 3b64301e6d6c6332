"""The table of operators that can be converted, against the converter that converts them."""

from __future__ import annotations

import subprocess

from multigraft.converters.conversion import onnx2tf_environment
from multigraft.converters.conversion.rewrite import RULES
from multigraft.converters.importing.known_operators import BECOMES
from multigraft.converters.importing.onnx_reader import UNSUPPORTED


def test_whatever_is_said_to_be_converted_is_known_to_the_converter_or_rewritten_before() -> None:
    environment = onnx2tf_environment.ensure()
    script = "from onnx2tf.tflite_builder import op_registry as r; print('KNOWN', *r.get_supported_onnx_ops())"
    done = subprocess.run(
        [str(environment.python), "-c", script], env=environment.variables, capture_output=True, text=True, check=True
    )
    known = set(done.stdout.split("KNOWN", 1)[1].split())
    assert len(known) > 100
    assert BECOMES.keys() <= known | RULES.keys() | {"Constant"}


def test_nothing_is_both_refused_and_said_to_be_converted() -> None:
    assert BECOMES.keys().isdisjoint(UNSUPPORTED)
