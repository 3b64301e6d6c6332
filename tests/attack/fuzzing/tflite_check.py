"""The check that a .tflite file goes through before an interpreter sees it."""

from __future__ import annotations

from multigraft.tflite.checking.check import check_tflite

LARGEST_SEED = 3 << 10


def seeds() -> dict[str, bytes]:
    """Small models of the tests: one with sparse weights, and one for each operator in the forms that are small."""
    from tests.attack.tflite_seeds import seeds as models
    from tests.firmware_gen.operators.test_operators import MODELS

    small = {name: make() for name, make in MODELS.items()}
    return {"sparse": models()["sparse"]} | {name: data for name, data in small.items() if len(data) <= LARGEST_SEED}


def run(data: bytes) -> None:
    """Check it."""
    check_tflite(data, "the file")
