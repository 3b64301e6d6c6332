"""Connections that a test leaves open are ended with it: in a circle of objects they would outlast it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from multigraft.runtime.offload.exchange import Exchange


@pytest.fixture(autouse=True)
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    begin, made = Exchange.__init__, list[Exchange]()

    def begun(exchange: Exchange, *args: Any, **how: Any) -> None:
        begin(exchange, *args, **how)
        made.append(exchange)

    monkeypatch.setattr(Exchange, "__init__", begun)
    yield
    for exchange in made:
        exchange.close()
