"""Deployments that are cut: kill -9, streams and connections that end, full disks. A bundle answers after every one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.deploy import cuts, sshd

LOCAL = [kind for kind in cuts.KINDS if kind not in ("connection cut", "disk full")]


def test_a_bundle_answers_after_every_cut(in_memory: Path) -> None:
    done = cuts.run(in_memory, 8, 3, LOCAL, is_served=False)
    assert sum(sum(counts.values()) for counts in done.counts.values()) == 2 * 8


def test_the_service_answers_after_every_cut(in_memory: Path) -> None:
    done = cuts.run(in_memory, 4, 5, LOCAL)
    assert done.service is not None
    # It is killed in a part of them, ends to serve another bundle, and does not end otherwise.
    assert set(done.service.codes[:-1]) <= {75, -9} and done.service.codes[-1] == 0


def test_a_connection_that_is_cut(in_memory: Path) -> None:
    reason = sshd.why_not()
    if reason is not None:
        pytest.skip(f"sshd: {reason}")
    cuts.run(in_memory, 2, 4, ["connection cut"], is_served=False)
