"""The bundles that go to a device to collect there, told apart by type from the one that answers tasks.

All three are written as ``NAME.graft`` and opened by :class:`multigraft.bundle.bundle.Bundle`.
"""

from __future__ import annotations

from typing import NewType

from multigraft.bundle.bundle import Bundle

TapsBundle = NewType("TapsBundle", Bundle)
"""The original networks with their representations as outputs, for ``multigraft calibrate collect``."""

RefitBundle = NewType("RefitBundle", Bundle)
"""Donors, originals and grafted rests with a refit plan, for ``multigraft calibrate refit``."""
