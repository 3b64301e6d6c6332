"""Starts onnx2tf inside its own environment; run as a script there, never imported here.

onnx2tf 1.x hands its Keras model to the TFLite converter, which first saves it with the whole configuration, weights
included, as JSON for each layer: four fifths of the time on MobileNetV2, for metadata that only Keras reads. Without it
the .tflite file is the same to the last byte. onnx2tf 2.x builds the file itself and has no Keras.
"""

from __future__ import annotations

import os
import runpy


def skip_keras_metadata() -> None:
    """Let layers say nothing about themselves when they are saved."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    try:
        from tf_keras.src.engine import base_layer  # type: ignore[import-not-found]
    except ImportError:
        return
    base_layer.Layer._tracking_metadata = property(lambda layer: "")


if __name__ == "__main__":
    skip_keras_metadata()
    runpy.run_module("onnx2tf", run_name="__main__", alter_sys=True)
