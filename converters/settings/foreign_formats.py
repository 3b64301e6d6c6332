"""Networks in TensorFlow's own formats, which TensorFlow alone can read: the command that makes a .tflite of them."""

from __future__ import annotations

from pathlib import Path

_KERAS = (".keras", ".h5", ".hdf5")


def foreign_format(path: Path) -> tuple[str, str] | None:
    """What a Keras file or SavedModel folder is, and what to do about it; None for anything else."""
    target = f"{path.stem}.tflite"
    try:
        is_keras = path.suffix.lower() in _KERAS and path.is_file()
        is_saved_model = path.is_dir() and (path / "saved_model.pb").is_file()
    except OSError:
        # Whoever opens it says what is wrong with the path.
        return None
    if is_keras:
        made = f"from_keras_model(tf.keras.models.load_model({str(path)!r}))"
        return "is a Keras file", _command(made, target)
    if is_saved_model:
        return "is a SavedModel folder", _command(f"from_saved_model({str(path)!r})", f"{path.name}.tflite")
    return None


def _command(made: str, target: str) -> str:
    program = f"import tensorflow as tf; open({target!r}, 'wb').write(tf.lite.TFLiteConverter.{made}.convert())"
    return f'where TensorFlow is installed, run python -c "{program}" and give {target}'
