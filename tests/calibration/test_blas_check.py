"""A numpy that multiplies wrongly is noticed before anything is collected."""

from __future__ import annotations

import numpy as np
import pytest

from multigraft.calibration.blas_check import check_products
from multigraft.errors import DeviceError
from multigraft.tensors.arrays import Array


def test_this_numpy_multiplies_right() -> None:
    check_products()


@pytest.mark.parametrize("wrong_shape", [(64, 64), (640, 640)])
@pytest.mark.parametrize("is_own", [True, False])
def test_a_wrong_product_is_named_with_a_remedy(wrong_shape: tuple[int, int], is_own: bool) -> None:
    def multiply(a: Array, b: Array) -> Array:
        product: Array = a @ b
        if product.shape == wrong_shape and np.shares_memory(a, b) == is_own:
            product[3:, 60] = np.nan
        return product

    with pytest.raises(DeviceError, match="multiplies matrices wrongly") as caught:
        check_products(multiply)
    assert "OPENBLAS_CORETYPE" in caught.value.remedy
