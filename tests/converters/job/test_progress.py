"""What is said while work goes on: shown once, and not by the thousand."""

from __future__ import annotations

import io

from multigraft.converters.job.progress import terminal_report


def test_a_log_is_not_flooded_by_what_counts_up() -> None:
    stream = io.StringIO()
    with terminal_report(stream) as report:
        for number in range(1, 45):
            report(f"judged {number} of 44 heads")
        report("note: 3 frames")
        report("note: 4 frames")
        report("quantising")
    assert stream.getvalue().splitlines() == ["judged 1 of 44 heads", "note: 3 frames", "note: 4 frames", "quantising"]
