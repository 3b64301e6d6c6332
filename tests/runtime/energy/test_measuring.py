"""A bundle's figures hang together: parts, uses, shares, rates of tasks, and what makes a run invalid."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.answers.crops import On
from multigraft.bundle.bundle import Bundle
from multigraft.devices.power.curve import Curve
from multigraft.devices.power.pmic_fit import PmicFit
from multigraft.devices.power.pmic_meter import PmicMeter
from multigraft.devices.thermal import Thermal, ThrottlingWatch
from multigraft.errors import UsageError
from multigraft.runtime import Engine
from multigraft.runtime.energy.attribution import SHARED
from multigraft.runtime.energy.calibration import calibrate
from multigraft.runtime.energy.estimate import TABLES, estimate, table_of
from multigraft.runtime.energy.figure import Figure
from multigraft.runtime.energy.measuring import Measured, measure_bundle, pattern_of, shares, users_of
from multigraft.runtime.energy.picture import draw_curve
from multigraft.runtime.parts import Part, parts_of
from tests.box_bundle import box_bundle, bright_frames
from tests.bundle_builder import build
from tests.devices.power.test_emulated_meters import vcgencmd
from tests.runtime.energy.ticking_meter import REST_W, TICK_S, WORK_W, TickingMeter

FRAMES = list(np.random.default_rng(1).integers(0, 256, (3, 28, 28), dtype=np.uint8))
A_CALL_J = (WORK_W - REST_W) * TICK_S


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(build().bundle)


def measured(engine: Engine, tasks: Sequence[str] = ("garment", "digit"), **how: Any) -> Measured:
    meter = TickingMeter()
    return measure_bundle(engine, FRAMES, tasks, meter, bench_of=lambda _: meter.bench(), **how)


def test_a_frame_and_each_of_its_parts_are_told(engine: Engine) -> None:
    found = measured(engine)
    assert found.frame.value_j == pytest.approx(A_CALL_J, rel=0.02)
    assert [str(part) for part in found.parts] == [
        "preprocessing of image", "trunk", "head_garment", "head_digit", "answering of garment", "answering of digit",
    ]  # fmt: skip
    for figure in found.parts.values():
        assert figure.value_j == pytest.approx(A_CALL_J, rel=0.02)
    assert found.idle_w == pytest.approx(REST_W, rel=0.02)
    assert found.is_valid and found.is_reached
    plain = found.to_json()
    assert plain["frame"]["confidence"] == 0.95 and plain["rails"][0]["unit"] == "W"


@pytest.mark.parametrize("split", ["shapley", "marginal", "by-use"])
def test_shares_add_up_to_the_frame(engine: Engine, split: Any) -> None:
    found = measured(engine, split=split, every={"digit": 3})
    assert sum(share.energy_j for share in found.tasks.values()) == pytest.approx(found.frame.value_j)
    assert (SHARED in found.tasks) == (split == "marginal")
    assert all(share.bound_j > 0 for share in found.tasks.values())


def test_a_task_that_is_asked_seldom_runs_its_parts_seldom(engine: Engine) -> None:
    found = measured(engine, every={"digit": 3})
    uses = {str(part): number for part, number in found.uses.items()}
    assert uses["trunk"] == uses["head_garment"] == 1
    assert uses["head_digit"] == uses["answering of digit"] == pytest.approx(1 / 3)
    # Three frames are a call here.
    assert found.frame.value_j == pytest.approx(A_CALL_J / 3, rel=0.02)


def test_shares_of_known_figures() -> None:
    def exact(value_j: float) -> Figure:
        return Figure(value_j, 0.0, 0.1, 8, 8)

    trunk, head = Part("segment", "trunk"), Part("segment", "head_b")
    found = shares(
        exact(10.0),
        {trunk: exact(6.0), head: exact(2.0)},
        {trunk: 1.0, head: 0.5},
        {trunk: ("a", "b"), head: ("b",)},
        [("a", "b"), ("a",)],
        "shapley",
    )
    # Of the trunk, and of 3 J between the parts, b pays half in one frame of two.
    assert found["b"].energy_j == pytest.approx(6 / 4 + 2 / 2 + 3 / 4)
    assert found["a"].energy_j == pytest.approx(10 - found["b"].energy_j)
    assert found["b"].bound_j == pytest.approx(0.1 * (1 / 4 + abs(1 / 4 - 1 / 4) + abs(1 / 2 - 1 / 8)))


def test_rates_come_round_or_are_refused() -> None:
    assert pattern_of(["a", "b"], {"b": 2}) == [("a", "b"), ("a",)]
    assert pattern_of(["a", "b"], {"a": 2, "b": 3})[1] == ()
    for wrong in ({"c": 2}, {"a": 0}, {"a": 59, "b": 61}):
        with pytest.raises(UsageError):
            pattern_of(["a", "b"], wrong)


def test_parts_are_told_apart_only_where_the_time_suffices(engine: Engine) -> None:
    found = measured(engine, seconds=20.0)
    assert not found.parts and not found.tasks
    assert measured(engine, seconds=found.seconds_needed * 1.05).parts


def test_a_run_that_was_throttled_is_invalid(engine: Engine, tmp_path: Path) -> None:
    state = tmp_path / "devices/platform/soc/soc:firmware/get_throttled"
    state.parent.mkdir(parents=True)
    state.write_text("0\n")
    watch = ThrottlingWatch(Thermal(tmp_path))
    # Under-voltage has occurred, and is over.
    state.write_text("10000\n")
    found = measured(engine, watch=watch)
    assert not found.is_valid and found.to_json()["is_valid"] is False


def test_a_jetsons_over_current_events_count_as_throttling(tmp_path: Path) -> None:
    events = tmp_path / "class/hwmon/hwmon1/oc3_event_cnt"
    events.parent.mkdir(parents=True)
    events.write_text("4\n")
    thermal = Thermal(tmp_path, command=("no-such-vcgencmd",))
    watch = ThrottlingWatch(thermal)
    assert watch.was_throttled() is False
    events.write_text("5\n")
    assert watch.was_throttled() is True


def cascade() -> Bundle:
    """Task "kind" looks at the boxes of "line"."""
    bundle = box_bundle()
    line, kind = bundle.manifest.tasks
    return bundle.with_tasks((line, dataclasses.replace(kind, on=On("line"))))


def test_looking_at_boxes_is_a_part_and_needs_what_finds_them() -> None:
    engine = Engine(cascade(), self_test=False)
    frame = bright_frames(30)[0]
    parts = parts_of(engine, frame)
    assert [str(part) for part in parts][-1] == "boxes of kind"
    for run in parts.values():
        run()
    users = {str(part): users_of(part, engine.manifest, ("line", "kind")) for part in parts}
    assert users["trunk"] == ("line", "kind")
    assert users["boxes of kind"] == ("kind",)


def test_parts_leave_answers_as_they_were(engine: Engine) -> None:
    before = engine.run(FRAMES[0]).answers
    for part, run in parts_of(engine, FRAMES[1], ("digit",)).items():
        run()
        assert "garment" not in part.of
    assert engine.run(FRAMES[0]).answers == before


def test_frames_of_several_sources_have_their_parts() -> None:
    engine = Engine(build().bundle)
    parts = parts_of(engine, {"digit": FRAMES[0]})
    assert [part.of for part in parts if part.kind == "segment"] == ["trunk", "head_digit"]


def test_an_estimate_follows_its_table(engine: Engine) -> None:
    manifest = engine.manifest
    by_macs = estimate(manifest, ("trunk",), table_of("5,0"))
    assert by_macs.energy_j == pytest.approx(manifest.segment("trunk").macs * 5e-12)
    # 28 x 28 bytes in, 14 x 14 x 16 out.
    by_bytes = estimate(manifest, ("trunk",), table_of("0,160"))
    moved = manifest.segment("trunk").weights_bytes + 28 * 28 + 14 * 14 * 16
    assert by_bytes.energy_j == pytest.approx(moved * 160e-12)
    table = TABLES["45nm"]
    assert table.mac_pj("int8") < table.mac_pj("float32") == table.mac_pj("int8, float32")
    assert all("estimated" in name for name in estimate(manifest, ("trunk",), table).to_json() if name != "table")
    for wrong in ("5nm", "5", "-1,2", "nan,1"):
        with pytest.raises(UsageError):
            table_of(wrong)


def test_the_curve_is_drawn_with_its_windows() -> None:
    times = np.linspace(0, 10, 1001)
    watts = np.where(times % 2 < 1, 2.0, 6.0)
    curve = Curve.of_power(times, watts)
    picture = np.array(draw_curve(curve, [(4.0, 6.0, True), (7.0, 8.0, False)], "title"))
    assert picture.shape == (480, 1200, 3)
    ground, line = np.array([250, 232, 200]), np.array([0, 114, 178])
    columns = np.flatnonzero((picture == ground).all(axis=2).any(axis=0))
    assert (columns[0] - 90) / 1090 == pytest.approx(0.4, abs=0.01)
    assert (columns[-1] - 90) / 1090 == pytest.approx(0.6, abs=0.01)
    drawn = (picture == line).all(axis=2)
    # 6 W stand above 2 W, on a scale that ends at 10 W.
    heights = [np.flatnonzero(drawn[:, 90 + round(1090 * share)])[0] for share in (0.05, 0.15)]
    assert heights == pytest.approx([50 + 370 * 0.8, 50 + 370 * 0.4], abs=4)


class Source:
    """A USB meter before the emulated Pi, and the load that moves both."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, busy: int) -> Source:
        vcgencmd(self._folder, self.amperes(busy))
        self.watts = 1.3 * 12 * self.amperes(busy) + 0.9
        return self

    @staticmethod
    def amperes(busy: int) -> float:
        return 0.2 + 0.1 * busy

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


def test_a_pi_5_is_calibrated_against_a_meter(tmp_path: Path) -> None:
    from multigraft.devices.power.fake_meter import FakeMeter

    source = Source(tmp_path)
    source.load(0)
    pmic = PmicMeter(PmicFit(1.1, 0.5, 0.1, 0, "other"), (str(tmp_path / "vcgencmd"), "pmic_read_adc"), interval_s=None)
    reference = FakeMeter(lambda: source.watts * 1000)
    fit = calibrate(pmic, reference, 0.6, source.load, cores=2)
    # Energies are trapezoids over steps of load: readings at both ends of a step are all that is taken.
    assert fit.slope == pytest.approx(1.3, rel=1e-3)
    assert fit.offset_w == pytest.approx(0.9, rel=1e-2)
    assert fit.points == 12 and math.isclose(fit.watts(3.0), 4.8, rel_tol=1e-3)
