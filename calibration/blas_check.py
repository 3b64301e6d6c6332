"""Whether numpy multiplies right here: statistics are sums of products, and a wrong one would show nowhere else.

OpenBLAS chooses its kernels by the processor it finds. That of numpy 1.26's wheels (0.3.23.dev) gives wrong products of
a matrix with its own transpose (ssyrk) in float32 on an emulated processor with SVE: seen with QEMU 7.2, which emulates
SVE unless it is told a processor without.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from multigraft.errors import DeviceError
from multigraft.tensors.arrays import Array

_ROWS, _COLUMNS = 64, 640
_TOLERANCE = 1e-3
"""Share of a result's greatest value; float32 needs a hundredth of it."""


def check_products(multiply: Callable[[Array, Array], Array] = np.matmul) -> None:
    """Multiply matrices of the shapes that collecting multiplies, by themselves and by others.

    Args:
        multiply: What is checked.

    Raises:
        DeviceError: A result is wrong.
    """
    values = np.random.default_rng(0).standard_normal((2, _ROWS, _COLUMNS))
    products = []
    for a, b in (values.astype(np.float32), values):
        products += [(a, a.T), (a.T, a), (a, b.T), (a.T, b)]
    for left, right in products:
        some = slice(3, None, len(left) // 8)
        # einsum without optimisation uses no BLAS.
        expected = np.einsum("ij,jk->ik", left[some].astype(np.float64), right.astype(np.float64))
        worst = np.abs(multiply(left, right)[some] - expected).max()
        if not worst <= _TOLERANCE * np.abs(expected).max():
            raise DeviceError(
                f"numpy {np.__version__} multiplies matrices wrongly on this processor (by up to {worst:.3g})",
                "set OPENBLAS_CORETYPE=ARMV8 on an Arm processor, or install another numpy",
            )
