"""The models whose C every compiler has to get right: each operator alone, and networks of several."""

from __future__ import annotations

from tests.firmware_gen.models import real_valued, remembering, residual, separable, streamed
from tests.firmware_gen.operators.binary_models import BINARY
from tests.firmware_gen.operators.more_models import MORE
from tests.firmware_gen.operators.recurrent_models import RECURRENT
from tests.firmware_gen.operators.test_operators import MODELS, UNEQUAL
from tests.firmware_gen.test_kept_calls import detector


def subjects() -> dict[str, bytes]:
    """Name to content of a .tflite file."""
    made = {
        **MODELS,
        **MORE,
        **RECURRENT,
        **BINARY,
        **{f"{name}, height and width differ": make for name, make in UNEQUAL.items()},
    }
    networks = {
        "residual network": residual,
        "rows streamed": streamed,
        "separable layers streamed": separable,
        "variables": lambda: remembering(None),
        "real values": real_valued,
        "detector": detector,
    }
    return {name: make() for name, make in {**made, **networks}.items()}
