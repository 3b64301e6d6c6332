"""Bundles and statistics that somebody changed, digests and all, run or are refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.archives import count, opens

MUTANTS = 30


@pytest.mark.parametrize("name", ["bundle", "varied bundle", "statistics"])
def test_mutants_are_opened_or_refused(name: str, tmp_path: Path) -> None:
    data, opened = opens(tmp_path)[name]
    opened(data)
    ends = count(data, opened, MUTANTS, 3)
    assert ends.keys() == {"opened", "refused"}, ends
