"""What is said while work goes on, and how far a search is: in a pipe, not by the thousand, and on a terminal."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multigraft.converters.job.progress import search_line, terminal_report
from multigraft.converters.job.search_progress import SearchProgress

LINE = re.compile(r"search: step (\d+) of about (\d+)")


class Terminal(io.StringIO):
    """As wide as any."""

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_every_line_once() -> None:
    stream = io.StringIO()
    with terminal_report(stream) as report:
        for line in ("graft b onto a", search_line(1, 4), search_line(2, 4, "0.90 of the weights")):
            report(line)
    assert stream.getvalue().splitlines() == [
        "graft b onto a",
        "search: step 1 of about 4",
        "search: step 2 of about 4, best so far: 0.90 of the weights",
    ]


def test_a_terminal_gets_a_bar_with_the_best_point_and_the_latest_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with terminal_report(stream) as report:
        report(search_line(3, 12, "0.90 [of] the weights"))
        report("solve layers [anew] (1 of 53)")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "3 of about 12" in text and "best so far: 0.90 [of] the weights" in text and "━" in text
    assert "solve layers [anew] (1 of 53)" in text and "search: step" not in text


def test_a_terminal_keeps_notes_and_has_no_bar_before_a_search_and_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    stream = Terminal()
    with terminal_report(stream) as report:
        report("import a")
        report(search_line(4, 4))
        report("note: few frames")
    assert "note: few frames" in stream.getvalue() and "of about" not in stream.getvalue()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("expect", "done", "finish")), st.integers(0, 9))))
def test_no_more_steps_are_done_than_there_are_and_all_of_them_at_the_end(
    events: list[tuple[str, str, int]],
) -> None:
    said: list[str] = []
    progress = SearchProgress(said.append)
    for stage, event, steps in events:
        if event == "expect":
            progress.expect(stage, steps)
        else:
            (progress.done if event == "done" else progress.finish)(stage)
    for stage in "abc":
        progress.finish(stage)
    progress.done("a")
    figures = [tuple(map(int, match.groups())) for line in said if (match := LINE.match(line))]
    assert all(done <= total for done, total in figures) and figures == sorted(figures, key=lambda pair: pair[0])
    assert figures[-1][0] == figures[-1][1] == 1 + sum(event == "done" for _, event, _ in events)


def test_a_log_is_not_flooded_by_what_counts_up() -> None:
    stream = io.StringIO()
    with terminal_report(stream) as report:
        for number in range(1, 45):
            report(f"judged {number} of 44 heads")
        report("note: 3 frames")
        report("note: 4 frames")
        report("quantising")
    assert stream.getvalue().splitlines() == ["judged 1 of 44 heads", "note: 3 frames", "note: 4 frames", "quantising"]


def test_names_that_end_in_numbers_are_no_count() -> None:
    stream = io.StringIO()
    with terminal_report(stream) as report:
        for line in ("import digit1", "import digit2", "graft head-1", "graft head-2"):
            report(line)
    assert stream.getvalue().splitlines() == ["import digit1", "import digit2", "graft head-1", "graft head-2"]
