"""Whether rates fit a machine, said before the start.

What was measured is played through: the same rota that runs later, with a made clock that each task moves on by what
it took in one measured round. This is an exact simulation of the schedule, not a bound on the work: whether tasks that
cannot be interrupted and whose release times are given can be scheduled is NP-hard in the strong sense (Jeffay, Stanat
and Martel, "On non-preemptive scheduling of periodic and sporadic tasks", RTSS 1991). A bound that holds for every
alignment would refuse many sets that run, as shared segments make the work depend on who is due together. Here all
tasks begin at the same tick, so one hyperperiod shows every alignment there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from multigraft.runtime.scheduling.rates import TaskRate, spelt
from multigraft.runtime.scheduling.rota import Rota
from multigraft.runtime.scheduling.times import QUANTILE, Times
from multigraft.runtime.scheduling.timetable import Timetable

MOST_MISSED = 0.01
"""Of a task's deadlines, where its rate fits."""
RESERVE = 0.01
"""Measured times are taken so much longer: a machine's speed moves by that from minute to minute, and at the edge of
what fits that decides between no deadline missed and every tenth."""
JOBS = 400
"""Deadlines of the rarest task that are played through, where that takes no more than :data:`TICKS`."""
TICKS = 6000
SEARCHED_TICKS = 1500
HALVINGS = 7
SLOWEST = Fraction(1, 64)
"""Of a rate: where even that does not fit, no other rates are proposed."""
CAMERA_SLACK = 0.97
"""A camera of 30 frames a second gives 29.97, and counting them takes a second or two."""


@dataclass(frozen=True)
class Verdict:
    """What became of the measured times.

    Attributes:
        rates: Those in question.
        missed: Task to the part of its deadlines that are missed.
        deadlines: Task to how many were played through.
        load: Time that is worked, of all time.
        rounds: Measured ones.
        confidence: With which :data:`~multigraft.runtime.scheduling.times.QUANTILE` of the times is known.
        hopeless: Task that takes longer than its deadline, alone on an idle machine, and why, in words; "" if none.
        fitting: Lower rates that fit; None where these do, or none was found.
    """

    rates: tuple[TaskRate, ...]
    missed: dict[str, float]
    deadlines: dict[str, int]
    load: float
    rounds: int
    confidence: float
    hopeless: str = ""
    fitting: tuple[TaskRate, ...] | None = None

    @property
    def fits(self) -> bool:
        """Whether no task misses more than :data:`MOST_MISSED`."""
        return not self.hopeless and max(self.missed.values()) < MOST_MISSED

    def sentence(self) -> str:
        """What does not fit, and which rates would; or that all is well."""
        known = f"{self.rounds} measured rounds"
        if self.fits:
            most = max(self.missed.values())
            return f"{spelt(self.rates)} fits: {self.load:.0%} busy, {most:.1%} of deadlines missed at most ({known})"
        late = [f"{task} would miss {part:.0%}" for task, part in self.missed.items() if part >= MOST_MISSED]
        why = self.hopeless or f"{' and '.join(late)} of its deadlines"
        return f"{spelt(self.rates)} does not fit: {why} ({known}, {self.load:.0%} busy)"

    def remedy(self) -> str:
        """What to do where it does not fit."""
        if self.fitting is not None:
            return f"{spelt(self.fitting)} would fit"
        return "give a longer deadline, a smaller network or a faster machine"

    def to_json(self) -> dict[str, object]:
        """Plain data."""
        return {
            "fits": self.fits,
            "rates_hz": {rate.task: float(rate.rate_hz) for rate in self.rates},
            "missed": {task: round(part, 5) for task, part in self.missed.items()},
            "deadlines": self.deadlines,
            "busy": round(self.load, 4),
            "rounds": self.rounds,
            "quantile": QUANTILE,
            "confidence": round(self.confidence, 4),
            "hopeless": self.hopeless,
            "fitting_hz": None if self.fitting is None else {r.task: float(r.rate_hz) for r in self.fitting},
        }


def admit(rates: Sequence[TaskRate], times: Times) -> Verdict:
    """Whether these rates fit, and if not, which would.

    Args:
        rates: Of the tasks.
        times: What was measured of them; :data:`RESERVE` is added.
    """
    longer = times.longer(1 + RESERVE)
    verdict = replace(play(rates, longer), hopeless=_hopeless(rates, times))
    if verdict.fits:
        return verdict
    return replace(verdict, fitting=_fitting(rates, longer))


def admit_of_cameras(rates: Sequence[TaskRate], times: Times, camera_hz: Mapping[str, float]) -> Verdict:
    """The same, where frames come no faster than cameras give them.

    Args:
        rates: Of the tasks.
        times: What was measured of them.
        camera_hz: Task to the frames a second of its camera; without tasks that take files.
    """
    verdict = admit(rates, times)
    asked = [rate for rate in rates if rate.task in camera_hz]
    fastest = max(asked, key=lambda rate: float(rate.rate_hz) - camera_hz[rate.task], default=None)
    if fastest is None or fastest.rate_hz * Fraction(CAMERA_SLACK) <= camera_hz[fastest.task]:
        return verdict
    given = f"{camera_hz[fastest.task]:.3g} frames a second"
    why = f"the camera gives {given}, and {fastest.task} asks for {float(fastest.rate_hz):.3g}"
    most = {task: Fraction(f"{hz:.2g}") for task, hz in camera_hz.items()}
    lower = [replace(r, rate_hz=min(r.rate_hz, most.get(r.task, r.rate_hz))) for r in verdict.fitting or rates]
    fitting = tuple(lower) if play(lower, times.longer(1 + RESERVE)).fits else None
    return replace(verdict, hopeless=why, fitting=fitting)


def play(rates: Sequence[TaskRate], times: Times, ticks: int = TICKS) -> Verdict:
    """Play measured times through, round by round, for so many ticks at most.

    Args:
        rates: Of the tasks.
        times: What was measured.
        ticks: The most.
    """
    now = 0.0
    rota = Rota(rates, times.bound_s, lambda: now)
    table = Timetable(rates)
    slowest = min(rate.rate_hz for rate in rates)
    wanted = JOBS * float(max(rate.rate_hz for rate in rates) / slowest)
    repeats = max(1, -(-int(wanted) // table.hyperperiod))
    end_s = min(ticks, repeats * table.hyperperiod) * table.period_s - table.period_s / 2
    turn, busy = 0, 0.0
    while True:
        now += rota.wait_s()
        if now > end_s:
            break
        rota.begin()
        while (task := rota.next()) is not None:
            taken = times.seconds(task, rota.ran)[turn % times.rounds]
            now += taken
            busy += taken
            rota.done(task)
            if rota.is_due:
                break
        turn += 1
    deadlines = {rate.task: rota.met[rate.task] + rota.missed[rate.task] for rate in rates}
    return Verdict(
        tuple(rates),
        {task: rota.missed[task] / max(1, count) for task, count in deadlines.items()},
        deadlines,
        busy / max(now, 1e-9),
        times.rounds,
        times.confidence,
        _hopeless(rates, times),
    )


def _hopeless(rates: Sequence[TaskRate], times: Times) -> str:
    """A task that is late whatever the others do: more than the allowed part of its rounds take too long."""
    for rate in rates:
        limit = min(rate.deadline_s or float(1 / rate.rate_hz), float(1 / rate.rate_hz))
        seconds = times.seconds(rate.task)
        if sum(value > limit for value in seconds) >= MOST_MISSED * len(seconds):
            takes = times.bound_s(rate.task)
            return f"{rate.task} alone takes up to {takes * 1000:.3g} ms, and has {limit * 1000:.3g} ms"
    return ""


def _fitting(rates: Sequence[TaskRate], times: Times) -> tuple[TaskRate, ...] | None:
    """Rates that fit: those of the lowest priorities lowered, of as few priorities as will do, all by one factor."""
    for level in sorted({rate.priority for rate in rates}):

        def lowered(factor: Fraction, level: int = level) -> tuple[TaskRate, ...]:
            return tuple(_rounded(r.times(factor)) if r.priority <= level else r for r in rates)

        if not play(lowered(SLOWEST), times, SEARCHED_TICKS).fits:
            continue
        low, high = SLOWEST, Fraction(1)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if play(lowered(middle), times, SEARCHED_TICKS).fits else (low, middle)
        while low > SLOWEST and not play(lowered(low), times).fits:
            low = max(SLOWEST, low * Fraction(15, 16))
        found = lowered(low)
        if play(found, times).fits:
            return found
    return None


def _rounded(rate: TaskRate) -> TaskRate:
    """Down to two digits: what is proposed should be easy to type."""
    digits = Fraction(10) ** (len(str(int(rate.rate_hz))) - 2) if rate.rate_hz >= 1 else Fraction(1, 100)
    rounded = rate.rate_hz // digits * digits
    return replace(rate, rate_hz=rounded or rate.rate_hz)
