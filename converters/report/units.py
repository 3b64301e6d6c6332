"""Figures as people read them, with their unit; ``None`` is a dash, never 0."""

from __future__ import annotations

from collections.abc import Callable

MISSING = "–"

Show = Callable[[float | None], str]


def byte_count(value: float | None) -> str:
    """Bytes in decimal multiples (1 kB = 1000 bytes)."""
    return _scaled(value, (("MB", 1e6), ("kB", 1e3), ("B", 1.0)))


def kibibytes(value: float | None) -> str:
    """A size given in KiB."""
    return _scaled(value, (("MiB", 1024.0), ("KiB", 1.0)))


def macs(value: float | None) -> str:
    """Multiply-accumulates."""
    return _scaled(value, (("G MACs", 1e9), ("M MACs", 1e6), ("k MACs", 1e3), ("MACs", 1.0)))


def count(value: float | None) -> str:
    """A plain number."""
    return _scaled(value, (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)))


def latency(value_us: float | None) -> str:
    """A time given in microseconds."""
    return _scaled(value_us, (("s", 1e6), ("ms", 1e3), ("µs", 1.0)))


def energy(value_j: float | None) -> str:
    """An energy given in joules."""
    return _scaled(value_j, (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6)))


def percent(share: float | None, digits: int = 1) -> str:
    """A share 0..1; never rounded up to 100 %."""
    if share is None:
        return MISSING
    shown = f"{100 * share:.{digits}f}"
    if share < 1 and float(shown) >= 100:
        shown = f"{100 - 10**-digits:.{digits}f}"
    return f"{shown} %"


def saving(separate: float | None, bundle: float | None) -> str:
    """How much less the bundle costs, for instance ``−41 %``."""
    if not separate or bundle is None:
        return ""
    change = round(100 * (bundle / separate - 1))
    return f"{'−' if change < 0 else '+' if change > 0 else '±'}{abs(change)} %"


def _scaled(value: float | None, units: tuple[tuple[str, float], ...]) -> str:
    if value is None:
        return MISSING
    name, size = next((u for u in units if abs(value) >= u[1]), units[-1])
    scaled = value / size
    digits = 0 if scaled == int(scaled) and size == 1.0 else max(0, 2 - len(str(int(abs(scaled)))) + 1)
    return f"{scaled:,.{digits}f} {name}".strip()
