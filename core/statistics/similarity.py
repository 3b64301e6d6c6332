"""How alike the representations of several networks are: linear CKA from sums that can be streamed and merged.

For a minibatch of ``n`` frames, tap ``t`` gives a Gram matrix ``K_t = X_t X_t'`` (n x n). With ``U(K)`` the U-centred
matrix (zero diagonal, zero row sums; Szekely and Rizzo, Ann. Statist. 42, 2014) the unbiased estimator HSIC_1 of Song
et al. (JMLR 13, 2012, eq. 5) is ``<U(K), U(L)> / (n (n - 3))``, and the biased one of Gretton et al. (ALT 2005) is
``<HKH, HLH> / (n - 1)^2``. Sums of them over minibatches, weighted by ``n``, give the minibatch CKA of Nguyen, Raghu
and Kornblith (ICLR 2021)::

    CKA(K, L) = sum HSIC(K, L) / sqrt(sum HSIC(K, K) * sum HSIC(L, L))

The unbiased figure does not depend on the minibatch size but for noise; the biased one does, and holds for the size
that was used. Both lie in -1..1, the biased one in 0..1.

Sums are kept exactly, as integers: the order in which minibatches are added or runs are merged changes no bit.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from multigraft.errors import InputError, UsageError
from multigraft.tensors.arrays import Array, Float64Array

MIN_BATCH = 4
"""HSIC_1 divides by n - 3."""

FEATURE_BLOCK = 8192
"""Features per float32 matrix product; products are added in float64, which bounds the rounding error."""

_UNIT_EXPONENT = 1126
"""Sums count multiples of 2**-1126: every float64 is such a multiple (the least is 2**-1074, and 53 bits below)."""

_SUM_BYTES = 288
"""Width of a stored sum: 2304 bits hold 2**150 terms of the greatest float64."""

_ARRAYS = ("taps", "counts", "unbiased", "biased")


class SimilaritySums:
    """Mergeable sums over minibatches, from which the CKA of every pair of taps follows.

    Memory: per :meth:`add`, ``8 * taps * batch^2`` bytes (see :func:`working_bytes`); between calls, some 600 bytes
    per pair of taps. It never grows with the number of features squared nor with the number of frames.

    Args:
        taps: A distinct name per representation, in the order in which :meth:`add` takes them.
    """

    def __init__(self, taps: Sequence[str]) -> None:
        if not taps or len(set(taps)) != len(taps):
            raise UsageError("similarity needs at least one tap, and each name once", "name the taps apart")
        self.taps = tuple(taps)
        self.frames = 0
        self.minibatches = 0
        self._upper = _upper(len(self.taps))
        self._unbiased = [0] * len(self._upper[0])
        self._biased = [0] * len(self._upper[0])

    def add(self, representations: Iterable[Array]) -> None:
        """Add one minibatch.

        Args:
            representations: One array per tap, batch x features (further axes are flattened), any real dtype; the
                same frames in the same order for every tap. At least 4 frames. They are read one by one, so that a
                generator keeps few of them in memory.

        Raises:
            UsageError: Their number is not that of the taps, or the batches differ or are too small.
            InputError: A representation holds NaN or infinity; nothing was added.
        """
        grams = np.empty((0, 0, 0))
        given = 0
        for given, representation in enumerate(representations, 1):
            n = len(representation)
            if given == 1:
                grams = np.empty((len(self.taps), n, n))
            if n < MIN_BATCH or n != grams.shape[1]:
                raise UsageError(
                    f"a minibatch of {n} frames cannot be compared with one of {grams.shape[1]}",
                    f"give the same {MIN_BATCH} or more frames to every tap",
                )
            if given > len(self.taps):
                break
            with np.errstate(over="ignore", invalid="ignore"):
                centred_gram(representation, out=grams[given - 1])
            if not np.isfinite(grams[given - 1]).all():
                raise InputError(
                    f"representation {self.taps[given - 1]} holds NaN or infinity", "check the network and its input"
                )
        if given != len(self.taps):
            raise UsageError(f"{given} representations were given for {len(self.taps)} taps", "give one per tap")
        self.add_grams(grams)

    def add_grams(self, grams: Float64Array, sampled: Sequence[int] = (), samples: Float64Array | None = None) -> None:
        """Add one minibatch by its Gram matrices.

        Args:
            grams: Taps x n x n, float64, C-contiguous: ``X X'``, where any vector may have been taken off all frames
                alike; near the mean, so that products keep their digits. Overwritten.
            sampled: Numbers of the taps of which only random features were used; ``grams`` holds the average of two
                independent estimates that have the tap's matrix as their mean.
            samples: These estimates, ``len(sampled)`` x 2 x n x n, like ``grams``. The product of such a tap with
                itself is taken between the two, which keeps it unbiased. Overwritten.

        Raises:
            UsageError: The number of taps is another, or there are fewer than 4 frames.
            InputError: A matrix holds NaN or infinity; nothing was added.
        """
        n = grams.shape[1]
        if grams.shape != (len(self.taps), n, n) or n < MIN_BATCH:
            raise UsageError(f"Gram matrices of shape {grams.shape} for {len(self.taps)} taps", "give one per tap")
        with np.errstate(over="ignore", invalid="ignore"):
            biased, unbiased = _products(grams)
            if samples is not None and len(sampled):
                chosen = np.array(sampled, np.intp)
                biased[chosen, chosen], unbiased[chosen, chosen] = _products_between(samples)
            biased *= n / (n - 1) ** 2
            unbiased /= n - 3
        if not (np.isfinite(biased).all() and np.isfinite(unbiased).all()):
            raise InputError("representations are too large to compare in float64", "scale them down")
        _accumulate(self._unbiased, unbiased[self._upper])
        _accumulate(self._biased, biased[self._upper])
        self.frames += n
        self.minibatches += 1

    def merge(self, other: SimilaritySums) -> SimilaritySums:
        """The sums of both runs; exactly associative and commutative.

        Raises:
            UsageError: The taps differ.
        """
        if self.taps != other.taps:
            raise UsageError("similarity sums of different taps cannot be merged", "merge runs of the same networks")
        merged = SimilaritySums(self.taps)
        merged.frames = self.frames + other.frames
        merged.minibatches = self.minibatches + other.minibatches
        merged._unbiased = [a + b for a, b in zip(self._unbiased, other._unbiased, strict=True)]
        merged._biased = [a + b for a, b in zip(self._biased, other._biased, strict=True)]
        return merged

    def __add__(self, other: SimilaritySums) -> SimilaritySums:
        return self.merge(other)

    def __sub__(self, part: SimilaritySums) -> SimilaritySums:
        """What was merged with ``part`` to give this; exact."""
        rest = SimilaritySums(self.taps)
        rest.frames, rest.minibatches = self.frames - part.frames, self.minibatches - part.minibatches
        rest._unbiased = [a - b for a, b in zip(self._unbiased, part._unbiased, strict=True)]
        rest._biased = [a - b for a, b in zip(self._biased, part._biased, strict=True)]
        return rest

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SimilaritySums):
            return NotImplemented
        return self._state() == other._state()

    __hash__ = None  # type: ignore[assignment]  # it changes with every add

    def _state(self) -> tuple[object, ...]:
        return self.taps, self.frames, self.minibatches, self._unbiased, self._biased

    @property
    def integers(self) -> Iterable[int]:
        """All sums, in units of 2**-1126: unbiased, then biased."""
        return itertools.chain(self._unbiased, self._biased)

    def unbiased_cka(self, is_clipped: bool = True) -> Float64Array:
        """Taps x taps, float64: unbiased linear CKA; 0 in the mean for independent representations.

        A pair of which one representation is the same for all frames has 0.

        Args:
            is_clipped: Chance may put an estimate outside -1..1, which no CKA is; False leaves it there, for errors.
        """
        cka = self._cka(self._unbiased)
        return np.clip(cka, -1.0, 1.0) if is_clipped else cka

    def biased_cka(self) -> Float64Array:
        """Taps x taps, float64: biased linear CKA of minibatches of the size used; it grows with features / frames."""
        return np.clip(self._cka(self._biased), -1.0, 1.0)

    def mean_hsic(self) -> Float64Array:
        """Taps x taps, float64: unbiased HSIC, the mean over frames; 0 where there are none."""
        i, j = self._upper
        hsic = np.zeros((len(self.taps), len(self.taps)))
        # Whole numbers may be too large for float64; their quotient is not.
        hsic[i, j] = hsic[j, i] = [s / (max(1, self.frames) << _UNIT_EXPONENT) for s in self._unbiased]
        return hsic

    def _cka(self, sums: Sequence[int]) -> Float64Array:
        # A common exponent keeps the ratios and brings any magnitude into the range of float64.
        shift = max(0, max(abs(s).bit_length() for s in sums) - 1000)
        values = np.array([float(s >> shift) for s in sums])
        i, j = self._upper
        # HSIC of a sampled tap with itself is unbiased: by chance, few frames of a near-constant one give less than 0.
        norm = np.sqrt(np.maximum(values[i == j], 0))
        scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
        cka = np.empty((len(self.taps), len(self.taps)))
        cka[i, j] = cka[j, i] = values * scale[i] * scale[j]
        return cka

    def to_arrays(self) -> dict[str, Array]:
        """Plain arrays for an .npz file (no pickle): ``taps`` (unicode), ``counts`` (int64: frames, minibatches),
        ``unbiased`` and ``biased`` (uint8, pairs x 288: little-endian two's complement, in units of 2**-1126).
        """
        return {
            "taps": np.array(self.taps, dtype=np.str_),
            "counts": np.array([self.frames, self.minibatches], dtype=np.int64),
            "unbiased": _to_bytes(self._unbiased),
            "biased": _to_bytes(self._biased),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """Read what :meth:`to_arrays` gave.

        Raises:
            InputError: An array is missing or of the wrong shape or dtype.
        """
        if missing := [name for name in _ARRAYS if name not in arrays]:
            raise InputError(f"similarity sums lack the array {missing[0]}", "collect them again")
        taps, counts = arrays["taps"], arrays["counts"]
        pairs = len(taps) * (len(taps) + 1) // 2 if taps.ndim == 1 else -1
        stored = arrays["unbiased"], arrays["biased"]
        if (
            pairs < 1
            or taps.dtype.kind != "U"
            or counts.shape != (2,)
            or counts.dtype.kind != "i"
            or any(a.shape != (pairs, _SUM_BYTES) or a.dtype != np.uint8 for a in stored)
        ):
            raise InputError("similarity sums have arrays of the wrong shape or type", "collect them again")
        sums = cls([str(t) for t in taps])
        sums.frames, sums.minibatches = int(counts[0]), int(counts[1])
        sums._unbiased, sums._biased = _from_bytes(stored[0]), _from_bytes(stored[1])
        return sums


@functools.cache
def _upper(taps: int) -> tuple[npt.NDArray[np.intp], ...]:
    """Rows and columns of the pairs, in the order in which they are held."""
    return np.triu_indices(taps)


def working_bytes(taps: int, batch: int) -> int:
    """Bytes :meth:`SimilaritySums.add` needs beside the representations themselves."""
    return 8 * taps * batch**2 + 3 * 8 * batch**2 + 12 * batch * FEATURE_BLOCK


def centred_gram(representation: Array, out: Float64Array) -> None:
    """Write ``H X X' H`` of one minibatch into ``out`` (n x n, float64).

    The mean frame is taken off before multiplying: representations after a ReLU have a mean that would otherwise
    cancel at the cost of most digits. float64 input is multiplied in float64, all else in float32 blocks.
    """
    x = representation.reshape(len(representation), -1)
    kind = np.float64 if x.dtype == np.float64 else np.float32
    out[...] = 0.0
    for start in range(0, x.shape[1], FEATURE_BLOCK):
        block: npt.NDArray[np.floating[Any]] = x[:, start : start + FEATURE_BLOCK].astype(kind)
        block = block - block.mean(axis=0, dtype=np.float64).astype(kind)
        out += block @ block.T


def _products(grams: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Taps x taps: inner products of the matrices after centring, and after U-centring; see :func:`_terms`."""
    diagonals, rows = _split(grams)
    flat, totals = grams.reshape(len(grams), -1), rows.sum(axis=-1)
    traces, wholes = diagonals.sum(axis=-1), rows + diagonals
    return _terms(
        grams.shape[-1], flat @ flat.T, diagonals @ diagonals.T, rows @ rows.T, wholes @ wholes.T,
        np.outer(totals, totals), np.outer(totals + traces, totals + traces),
    )  # fmt: skip


def _products_between(pairs: Float64Array) -> tuple[Float64Array, Float64Array]:
    """The same as :func:`_products`, for the two matrices of each pair alone: one number per pair."""
    diagonals, rows = _split(pairs)
    totals = rows.sum(axis=-1)
    traces, wholes = diagonals.sum(axis=-1), rows + diagonals

    def between(x: Float64Array) -> Float64Array:
        flat = x.reshape(len(x), 2, -1)
        products: Float64Array = np.einsum("ki,ki->k", flat[:, 0], flat[:, 1])
        return products

    return _terms(
        pairs.shape[-1], between(pairs), between(diagonals), between(rows), between(wholes),
        between(totals), between(totals + traces),
    )  # fmt: skip


def _terms(
    n: int,
    inner: Float64Array,
    diagonals: Float64Array,
    rows: Float64Array,
    wholes: Float64Array,
    totals: Float64Array,
    all_totals: Float64Array,
) -> tuple[Float64Array, Float64Array]:
    """Products of centred and of U-centred matrices from those of matrices as they are.

    With ``K0``, ``L0`` of zero diagonals, ``k0``, ``l0`` their row sums and ``k``, ``l`` those with the diagonals::

        <HKH, HLH>   = <K0, L0> + <diag K, diag L> - 2 / n * <k, l> + sum(k) sum(l) / n^2
        <U(K), U(L)> = <K0, L0> - 2 / (n - 2) * <k0, l0> + sum(k0) sum(l0) / ((n - 1) (n - 2))
    """
    biased = inner + diagonals - 2 / n * wholes + all_totals / n**2
    unbiased = inner - 2 / (n - 2) * rows + totals / ((n - 1) * (n - 2))
    return biased, unbiased


def _split(grams: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Take the diagonals out (they are 0 afterwards); they and the row sums of the rest, ... x n."""
    n = grams.shape[-1]
    view = grams.reshape(*grams.shape[:-2], n * n)[..., :: n + 1]
    diagonals = view.copy()
    view[...] = 0
    return diagonals, grams.sum(axis=-1)


def _accumulate(sums: list[int], terms: Float64Array) -> None:
    mantissas, exponents = np.frexp(terms)
    whole = np.ldexp(mantissas, 53).astype(np.int64).tolist()
    for i, (mantissa, exponent) in enumerate(zip(whole, exponents.tolist(), strict=True)):
        sums[i] += mantissa << (exponent - 53 + _UNIT_EXPONENT)


def _to_bytes(sums: Sequence[int]) -> npt.NDArray[np.uint8]:
    joined = b"".join(s.to_bytes(_SUM_BYTES, "little", signed=True) for s in sums)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(sums), _SUM_BYTES).copy()


def _from_bytes(array: npt.NDArray[np.uint8]) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little", signed=True) for row in array]


def minibatches(frames: int, batch: int) -> list[slice]:
    """Cut ``frames`` into minibatches of about ``batch`` frames, as equal as possible, none under 4.

    Raises:
        UsageError: There are fewer than 4 frames.
    """
    if frames < MIN_BATCH:
        raise UsageError(f"{frames} frames are too few to compare representations", f"give {MIN_BATCH} or more")
    count = max(1, min(math.ceil(frames / max(batch, MIN_BATCH)), frames // MIN_BATCH))
    edges = [frames * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]
