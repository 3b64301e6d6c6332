"""The one table of TFLite operators that have a form in ONNX."""

from __future__ import annotations

from multigraft.converters.importing.tflite import convolution, elementwise, pooling, rearranging, resizing

EMITTERS = {
    **convolution.EMITTERS,
    **elementwise.EMITTERS,
    **pooling.EMITTERS,
    **rearranging.EMITTERS,
    **resizing.EMITTERS,
}
"""TFLite operator to what writes it."""

KNOWN = frozenset(EMITTERS)
