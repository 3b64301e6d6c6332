"""``multigraft serve`` and ``bench`` with a rate for each task, as users type it."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from multigraft.cli.main import main
from multigraft.runtime import Engine
from multigraft.runtime.deploy import store, trial
from multigraft.runtime.scheduling.budget import Budget
from multigraft.runtime.scheduling.rates import TaskRate
from multigraft.runtime.service import scheduled
from multigraft.runtime.service.asked import Requests
from multigraft.runtime.service.figures import Figures
from multigraft.runtime.service.frames import Frames, Pace
from multigraft.runtime.service.journal import Journal
from multigraft.runtime.service.notify import Notifier
from multigraft.runtime.service.scheduled import Schedule, ScheduledLoop
from tests.bundle_builder import build
from tests.runtime.scheduling.made_times import times
from tests.runtime.service.served import serving
from tests.runtime.service.test_loop import Eye

IMPOSSIBLE = "garment=10,deadline=0.001ms"
"""On any machine."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rates") / "home.graft"
    build().bundle.write(path)
    return path


def test_each_task_is_answered_at_its_rate_and_deadlines_are_told(home: Path, tmp_path: Path) -> None:
    arguments = (str(home), "--source", "fake:", "--rate", "garment=20,priority=1", "--rate", "digit=5")
    with serving(tmp_path, *arguments, "--allow-miss") as served:
        served.until(lambda: served.is_well() and served.json("/live/state")["frames"] >= 60)
        state = served.json("/live/state")
        schedule = state["schedule"]
        assert {task: known["rate_hz"] for task, known in schedule.items()} == {"garment": 20.0, "digit": 5.0}
        asked = {task: known["met"] + known["missed"] for task, known in schedule.items()}
        assert asked["garment"] >= 55 and abs(asked["garment"] / 4 - asked["digit"]) <= 2
        assert set(state["words"]) == {"garment", "digit"}, "of tasks not asked of this frame the last answer stands"
        metrics = served.ask("/metrics", headers={"accept": "application/openmetrics-text"})[2].decode()
        assert 'deadline_misses_total{task="garment"}' in metrics
        assert 'task_rate_hertz{task="digit"} 5.0' in metrics
        counts = {
            line.split('"')[1]: float(line.rsplit(" ", 1)[1])
            for line in metrics.splitlines()
            if line.startswith("inference_seconds_count")
        }
        assert counts["digit"] < counts["garment"] / 3
        assert served.end() == 0
        assert "garment=20,digit=5 fits" in served.log.read_text() or "would fit" in served.log.read_text()


def test_rates_that_do_not_fit_end_it_with_78_and_say_why(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scheduled, "PAUSE_S", 0.0)
    arguments = ["serve", str(home), "--source", "fake:", "--listen", "none", "--state", str(tmp_path)]
    assert main([*arguments, "--rate", IMPOSSIBLE, "--rate", "digit=5"]) == 78
    said = capsys.readouterr().err
    assert "garment=10,digit=5 does not fit: garment alone takes up to " in said and "--allow-miss serves it" in said


def test_a_deployed_bundle_that_is_too_slow_gives_way_to_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scheduled, "PAUSE_S", 0.0)
    before, new = (store.put(tmp_path, digit * 64, build(width=width).bundle) for digit, width in (("a", 8), ("b", 12)))
    trial.switch_to(tmp_path, before)
    trial.starting(tmp_path)
    trial.settled(tmp_path)
    trial.switch_to(tmp_path, new)
    arguments = [
        "serve",
        "--source",
        "fake:",
        "--listen",
        "none",
        "--state",
        str(tmp_path),
        "--rate",
        "10000,priority=1",
    ]
    assert main(arguments) == 78, "an option that makes no sense is nothing that another bundle mends"
    arguments[-1:] = [IMPOSSIBLE, "--rate", "digit=5"]
    assert main(arguments) == 2
    assert "garment=10,digit=5 does not fit" in capsys.readouterr().err
    for _ in range(trial.TRIALS - 1):
        trial.starting(tmp_path)
    assert trial.starting(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--rate", "garment=5"], "task digit has no rate"),
        (["--rate", "dog=5"], "--rate names dog, which is not served; choose from: garment, digit"),
        (["--rate", "garment=0"], "--rate is garment=0"),
        (["--max-power", "4W"], "--max-power lowers rates, and no task has one"),
        (["--max-power", "much", "--rate", "5"], "--max-power is much; give watts, as in 4W"),
        (["--max-power", "0W", "--rate", "5"], "--max-power is 0W"),
        (["--max-temperature", "500", "--rate", "5"], "--max-temperature is 500"),
    ],
)
def test_what_makes_no_sense_ends_it_with_78(
    home: Path, tmp_path: Path, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["serve", str(home), "--source", "fake:", "--listen", "none", "--state", str(tmp_path)]
    assert main([*arguments, *words]) == 78
    assert problem in capsys.readouterr().err


def test_the_unit_carries_rates_and_limits(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--rate",
        "10",
        "--rate",
        "face=2,priority=1,deadline=200ms",
        "--max-power",
        "4W",
        "--max-temperature",
        "75",
    ]
    assert main(["service", "install", "--print", *words, "--allow-miss"]) == 0
    text = capsys.readouterr().out
    assert "--rate 10 --rate face=2,priority=1,deadline=200ms" in text
    assert "--max-power 4W --max-temperature 75" in text and "--allow-miss" in text


def test_bench_says_whether_rates_fit_by_its_exit_code(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(home), "--rate", IMPOSSIBLE, "--rate", "digit=5", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["fits"] and told["quantile"] == 0.99 and told["rounds"] >= 20
    assert told["confidence"] == pytest.approx(min(0.95, 1 - 0.99 ** told["rounds"]), abs=1e-4)
    assert main(["bench", str(home), "--rate", "0.2,priority=1"]) == 2
    capsys.readouterr()
    assert main(["bench", str(home), "--rate", "0.2", "--rate", "digit=0.1"]) == 0
    assert capsys.readouterr().out.startswith("garment=0.2,digit=0.1 fits: ")


def test_a_budget_lowers_and_raises_rates_of_a_running_loop_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [0.0]
    engine = Engine(build().bundle)
    figures = Figures(engine.manifest, None)
    frames = Frames({(): Eye()})
    asked = (TaskRate("garment", Fraction(20), 1), TaskRate("digit", Fraction(10)))
    parts: Any = (engine, None, frames, Pace(None), figures, Requests(engine, figures.requests), None, Notifier({}))
    loop = ScheduledLoop(Schedule(asked, most_w=4.0), *parts, Journal({}))
    loop._budget = Budget(asked, 4.0, clock=lambda: now[0])
    loop.look({"power": [], "temperature_c": None})
    loop.start(times(1, {"garment": 1, "digit": 1}))
    for _ in range(30):
        now[0] += 1
        loop.look({"power": [{"watts": 3.0}, {"watts": 2.0}], "temperature_c": None})
    assert "5 W where 4 W may be: the rate of digit was lowered, now garment=20,digit=5" in capsys.readouterr().err
    loop._pace.begin()
    assert {task: known["rate_hz"] for task, known in figures.to_json()["schedule"].items()} == {
        "garment": 20.0, "digit": 2.5,
    }  # fmt: skip
