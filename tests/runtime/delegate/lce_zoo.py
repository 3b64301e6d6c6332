"""Whole networks of larq-zoo, converted by Larq Compute Engine's own converter.

Runs in an environment that has larq-compute-engine, larq-zoo and TensorFlow, and none of ours:
PYTHON lce_zoo.py FOLDER NAME... writes NAME.float.tflite, NAME.int8.tflite and a picture for each, NAME.KIND.x.npy. The
weights are drawn; batch norms have the statistics of two pictures. int8 has LCE's default range for every tensor.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.update(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3")

import larq_compute_engine
import larq_zoo
import numpy as np
import tensorflow as tf

SIZE = 224
PICTURES = 2
"""That batch norms take their statistics of."""
RANGE = (-3.0, 3.0)
STEP, ZERO_POINT = (RANGE[1] - RANGE[0]) / 255, -1
"""What the converter makes of the input's range, whose zero is a whole number."""


def pictures(rng: Any) -> Any:
    """Clouds with noise, -1..1, float32 [PICTURES, SIZE, SIZE, 3]."""
    clouds = tf.image.resize(rng.random((PICTURES, 7, 7, 3), np.float32), (SIZE, SIZE), "bicubic").numpy()
    return np.clip(2 * clouds - 1 + rng.normal(0, 0.1, clouds.shape), -1, 1).astype(np.float32)


def drawn(name: str, rng: Any) -> Any:
    """A network of that name with weights and statistics."""
    tf.keras.utils.set_random_seed(1)
    make = getattr(larq_zoo.sota, name, None) or getattr(larq_zoo.literature, name)
    model = make(weights=None, input_shape=(SIZE, SIZE, 3), num_classes=1000)
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics of the next frames in place of old ones
            if layer.scale:
                layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            if layer.center:
                layer.beta.assign(rng.normal(0, 0.3, layer.beta.shape))
    model(pictures(rng), training=True)
    # Softmax hides differences: 1,000 classes share 1, which int8 has 256 steps for.
    return tf.keras.Model(model.input, model.layers[-1].input if is_softmax(model.layers[-1]) else model.output)


def is_softmax(layer: Any) -> bool:
    return isinstance(layer, tf.keras.layers.Softmax) or (
        getattr(layer, "activation", None) is tf.keras.activations.softmax and not layer.weights
    )


def main(folder: Path, names: list[str]) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    for name in names:
        rng = np.random.default_rng(1)
        model = drawn(name, rng)
        x = pictures(rng)[:1]
        int8 = {
            "experimental_default_int8_range": RANGE,
            "inference_input_type": tf.int8,
            "inference_output_type": tf.int8,
        }
        stored = np.clip(np.round(x / STEP) + ZERO_POINT, -128, 127).astype(np.int8)
        with tempfile.TemporaryDirectory() as saved:
            model.export(saved)
            for kind, options, given in (("float", {}, x), ("int8", int8, stored)):
                content = larq_compute_engine.convert_saved_model(saved, **options)
                (folder / f"{name}.{kind}.tflite").write_bytes(content)
                np.save(folder / f"{name}.{kind}.x.npy", given)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
