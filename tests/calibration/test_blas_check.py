"""A numpy that multiplies wrongly is noticed before anything is collected."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.calibration.blas_check import check_products
from multigraft.errors import DeviceError


def test_this_numpy_multiplies_right():
    check_products()


@pytest.mark.parametrize("wrong_shape", [(64, 64), (640, 640)])
@pytest.mark.parametrize("is_own", [True, False])
def test_a_wrong_product_is_named_with_a_remedy(wrong_shape, is_own):
    def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        found = a @ b
        if found.shape == wrong_shape and np.shares_memory(a, b) == is_own:
            found[3:, 60] = np.nan
        return found

    with pytest.raises(DeviceError, match="multiplies matrices wrongly") as caught:
        check_products(multiply)
    assert "OPENBLAS_CORETYPE" in caught.value.remedy
