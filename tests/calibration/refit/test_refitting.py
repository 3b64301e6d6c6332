"""The refit on the device: the workstation's weights from sums alone, resumable, without a frame in its file."""

from __future__ import annotations

import dataclasses
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.refit.refitting import (
    LEAST_ACCEPTED,
    STORE_SUFFIX,
    OnRefitEvent,
    RefitEvent,
    RefitOptions,
    refit_on_device,
)
from multigraft.cli.main import main
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.field.refit_bundle import make_refit_bundle
from multigraft.converters.field.refitted_candidates import grafts_of
from multigraft.converters.graft.candidate import evaluate
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.graft.join import Join, Method
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.network.network import Network
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.errors import InputError, UsageError
from multigraft.refit.refit_plan import Refit
from tests.calibration.networks import taps_bundle
from tests.converters.graft.networks import frames, residual_network
from tests.optional import some

FITTED = 200
OPTIONS = RefitOptions(frames=FITTED)


@dataclass(frozen=True)
class Planned:
    """Two targets, one by refit and one through an adapter of another width, and what the device sees."""

    networks: tuple[Network, ...]
    joins: tuple[Join, ...]
    bundle: Path
    images: npt.NDArray[np.uint8]
    source: Path

    def refit(
        self, output: Path, options: RefitOptions = OPTIONS, report: OnRefitEvent = lambda event: None
    ) -> Refit | None:
        return refit_on_device(Bundle.open(self.bundle), ArrayFile(self.source), output, options, report)


@pytest.fixture(scope="module")
def planned(onnx2tf_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Planned:
    folder = tmp_path_factory.mktemp("plan")
    networks = (residual_network("first", 1), residual_network("same", 2), residual_network("wider", 3, width=8))
    donor = networks[0]
    choices: list[tuple[Network, int, Method]] = [(networks[1], 0, "refit"), (networks[2], 1, "adapter3")]
    joins = tuple(
        Join("first", n.name, donor.cut_points[at], n.cut_points[at], method, "independent", 0.9)
        for n, at, method in choices
    )
    bundle = make_refit_bundle(networks, joins, "plan", folder)
    images = np.stack(frames(600))
    np.save(folder / "frames.npy", images)
    bundle.write(folder / "home.mgplan")
    return Planned(networks, joins, folder / "home.mgplan", images, folder / "frames.npy")


@pytest.fixture(scope="module")
def solved(planned: Planned, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Refit]:
    path = tmp_path_factory.mktemp("solved") / "site.mgrefit"
    refit = planned.refit(path)
    assert refit is not None
    return path, refit


def test_it_solves_what_the_workstation_solves_from_the_same_frames(
    planned: Planned, solved: tuple[Path, Refit]
) -> None:
    evidence = Evidence(list(planned.images[:FITTED]), list(planned.images[FITTED:]))
    given = grafts_of(
        Refit.open(solved[0]), planned.networks, dict.fromkeys(("same", "wider"), evidence), SearchOptions()
    )
    for join in planned.joins:
        donor, target = (next(n for n in planned.networks if n.name == name) for name in (join.donor, join.target))
        home, field = evaluate(join, donor, target, evidence), given[join.target]
        assert [layer.rows for layer in field.layers][-len(home.layers) :] == [layer.rows for layer in home.layers]
        features = donor.run(donor.prepare(evidence.accept), [home.tail.source])[home.tail.source].astype(np.float32)
        expected, on_device = home.tail.run(features)[0], field.tail.run(features)[0]
        np.testing.assert_allclose(on_device, expected, atol=0.02 * np.abs(expected).max())
        assert field.own_weights == home.own_weights and field.own_macs == home.own_macs
        # Measured on the device, in its interpreter, on the frames behind those it was fitted on.
        shown = some(next(g.agreement for g in solved[1].grafts if g.target == join.target))
        assert shown["frames"] == 400 and shown["value"] == pytest.approx(home.shown.value, abs=0.01)


@pytest.mark.parametrize("how", ["Ctrl-C", "power cut"])
def test_it_resumes_to_the_same_bytes(planned: Planned, solved: tuple[Path, Refit], tmp_path: Path, how: str) -> None:
    output, events = tmp_path / "site.mgrefit", []

    def interrupt(event: RefitEvent) -> None:
        events.append(event)
        if len(events) % 1700 == 0:
            if how == "power cut":
                raise SystemError("power is gone")
            os.kill(os.getpid(), signal.SIGINT)

    options, runs, refit = RefitOptions(frames=FITTED, checkpoint_s=0.05 if how == "power cut" else 1e9), 0, None
    while refit is None and runs < 20:
        runs += 1
        try:
            refit = planned.refit(output, options, interrupt)
        except SystemError:
            assert not output.exists()
    assert runs > 3
    assert output.read_bytes() == solved[0].read_bytes()
    assert not list(tmp_path.glob(f"*{STORE_SUFFIX}*"))


def test_its_file_holds_weights_and_no_frame(planned: Planned, solved: tuple[Path, Refit], tmp_path: Path) -> None:
    refit = Refit.open(solved[0])
    assert refit.minimum_frames == 32 and {g.frames for g in refit.grafts} == {FITTED}
    layers = {f"{layer.layer}/{i}" for g in refit.grafts for layer in g.layers for i in (1, 2)}
    assert set(refit.weights) == layers
    original = {n.name: n for n in planned.networks}["same"].constants
    assert refit.weights["same/c1/1"].shape == original["same/w1"].shape
    assert all(FITTED not in array.shape for array in refit.weights.values())
    np.save(tmp_path / "few.npy", planned.images[:31])
    with pytest.raises(InputError, match="gave 31 frames, and 32 are needed"):
        refit_on_device(Bundle.open(planned.bundle), ArrayFile(tmp_path / "few.npy"), tmp_path / "a.mgrefit", OPTIONS)
    with pytest.raises(UsageError, match="20 frames are fewer than the minimum of 32"):
        RefitOptions(frames=20)


def test_another_source_or_a_second_process_is_refused(planned: Planned, tmp_path: Path) -> None:
    def interrupt(event: RefitEvent) -> None:
        with pytest.raises(UsageError, match="in use"):
            planned.refit(tmp_path / "a.mgrefit")
        raise SystemError

    with pytest.raises(SystemError):
        planned.refit(tmp_path / "a.mgrefit", report=interrupt)
    np.save(tmp_path / "other.npy", planned.images)
    with pytest.raises(UsageError, match="begun with another source"):
        refit_on_device(Bundle.open(planned.bundle), ArrayFile(tmp_path / "other.npy"), tmp_path / "a.mgrefit", OPTIONS)


@pytest.mark.parametrize("option", ["frames", "accept", "every", "seed", "minimum_frames"])
def test_a_store_of_other_options_is_refused(planned: Planned, tmp_path: Path, option: str) -> None:
    def interrupt(event: RefitEvent) -> None:
        raise SystemError

    with pytest.raises(SystemError):
        planned.refit(tmp_path / "a.mgrefit", report=interrupt)
    changes: dict[str, Any] = {option: getattr(OPTIONS, option) + 1}
    with pytest.raises(UsageError, match="begun with other options"):
        planned.refit(tmp_path / "a.mgrefit", dataclasses.replace(OPTIONS, **changes), interrupt)
    # How often the store is written decides nothing.
    with pytest.raises(SystemError):
        planned.refit(tmp_path / "a.mgrefit", dataclasses.replace(OPTIONS, checkpoint_s=1.0), interrupt)


def test_the_least_frames_are_enough_and_one_less_is_not(planned: Planned, tmp_path: Path) -> None:
    """To solve from (32), and behind them to show an agreement (16)."""
    options = RefitOptions(frames=32, accept=40)
    for more, is_shown in ((LEAST_ACCEPTED, True), (LEAST_ACCEPTED - 1, False)):
        np.save(tmp_path / f"{more}.npy", planned.images[: 32 + more])
        source = ArrayFile(tmp_path / f"{more}.npy")
        refit = some(refit_on_device(Bundle.open(planned.bundle), source, tmp_path / f"{more}.mgrefit", options))
        assert [g.agreement is not None for g in refit.grafts] == [is_shown] * 2
        assert {g.frames for g in refit.grafts} == {32}
    np.save(tmp_path / "least.npy", planned.images[:32])
    source = ArrayFile(tmp_path / "least.npy")
    asked_for_more = RefitOptions(frames=64, accept=40)
    refit = some(refit_on_device(Bundle.open(planned.bundle), source, tmp_path / "least.mgrefit", asked_for_more))
    assert {g.frames for g in refit.grafts} == {32}


def test_a_refit_of_other_networks_is_refused(planned: Planned, solved: tuple[Path, Refit]) -> None:
    refit = Refit.open(solved[0])
    with pytest.raises(InputError, match="a network 'wider', which the settings do not name"):
        grafts_of(refit, planned.networks[:2], {}, SearchOptions())
    others = [residual_network(n.name, 7 + i) for i, n in enumerate(planned.networks)]
    with pytest.raises(InputError, match="of the refit has shape"):
        grafts_of(refit, others, {}, SearchOptions())


def test_wrong_files_end_in_one_sentence(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    taps_bundle().write("home.mgtaps")
    (tmp_path / "half.mgrefit").write_bytes(b"PK\3\4 and then nothing")
    common = ["--source", str(planned.source), "-o", "a.mgrefit"]
    for argv, words in (
        (["calibrate", "refit", "home.mgtaps", *common], "is no refit bundle"),
        (["calibrate", "refit", "none.graft", *common], "does not exist"),
        (["calibrate", "refit", str(planned.bundle), *common[:2], "-o", "none/a.mgrefit"], "does not exist"),
    ):
        assert main(argv) == 2
        error = capsys.readouterr().err
        assert words in error and "Traceback" not in error
    with pytest.raises(InputError, match="no whole refit file"):
        Refit.open(tmp_path / "half.mgrefit")
