"""A network that a device solves anew with fewer channels: the workstation's weights, from sums alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.refit.refit_model import RefitModel
from multigraft.calibration.refit.refitting import RefitOptions, refit_on_device
from multigraft.cli.main import main
from multigraft.converters.conversion.onnx2tf_environment import Environment
from multigraft.converters.field.refit_bundle import make_refit_bundle
from multigraft.converters.field.refitted_thinnings import thinned_of
from multigraft.converters.field.thinned_order import FieldThinning
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.network.network import Network
from multigraft.converters.thinning.resolve import resolved
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.errors import BundleError, InputError
from multigraft.refit.refit_plan import PLAN, Refit
from tests.converters.graft.networks import frames, residual_network

FITTED = 200
NETWORK = residual_network("alone", 1, width=8)
INSIDE, STREAM, LAST = "alone/c1", "alone/c0", "alone/c3"


def answers(network: Network, images: Any) -> Any:
    return network.run(network.prepare(list(images)))[network.outputs[0]]


def rms(values: Any) -> float:
    return float(np.sqrt((values**2).mean()))


@pytest.mark.parametrize(
    "kept",
    [
        {INSIDE: (0, 3, 5)},
        {LAST: (1, 2, 6, 9, 15)},
        {INSIDE: (1, 2, 7), STREAM: (0, 1, 4, 5, 7), LAST: (0, 2, 3, 5, 8, 13)},
    ],
    ids=["inside of a block", "before the pooling", "residual stream and all"],
)
def test_it_solves_what_the_workstation_solves_from_the_same_frames(
    onnx2tf_environment: Environment, tmp_path: Path, kept: dict[str, tuple[int, ...]]
) -> None:
    thinning = FieldThinning(NETWORK, kept)
    make_refit_bundle([NETWORK], [], "plan", tmp_path, thinnings=[thinning]).write(tmp_path / "home.mgplan")
    images = np.stack(frames(FITTED + 100))
    np.save(tmp_path / "frames.npy", images)
    refitted = refit_on_device(
        Bundle.open(tmp_path / "home.mgplan"),
        ArrayFile(tmp_path / "frames.npy"),
        tmp_path / "site.mgrefit",
        RefitOptions(frames=FITTED),
    )
    assert refitted is not None
    solved = thinned_of(Refit.open(tmp_path / "site.mgrefit"), [NETWORK], {}, SearchOptions())["alone"]

    home, errors = resolved(NETWORK, thinning.narrow, thinning.places, list(images[:FITTED]))
    assert (solved.network.weights, solved.network.macs) == (home.weights, home.macs)
    assert solved.network.weights < NETWORK.weights and solved.network.macs < NETWORK.macs
    expected, on_device = answers(home, images), answers(solved.network, images)
    # Sums are added up in another order, in float32: weights of inputs that hardly differ move by more than answers do.
    assert rms(on_device - expected) < 0.02 * rms(expected)
    assert rms(on_device - answers(NETWORK, images)) < 0.7 * rms(
        answers(thinning.narrow, images) - answers(NETWORK, images)
    )
    # What the device measured is of the frames behind those, in its own interpreter.
    shown = solved.agreement
    assert shown is not None and shown.frames == 100
    was, now = (answers(n, images[FITTED:]).argmax(1) for n in (NETWORK, home))
    assert shown.value == pytest.approx((was == now).mean(), abs=0.02)
    assert sorted(s.relative_error for s in refitted.grafts[0].layers) == pytest.approx(
        sorted(errors.values()), rel=1e-2, abs=1e-6
    )


def test_channels_of_another_network_are_refused() -> None:
    for wrong in ((0, 8), (-1, 2), (1, 1), (3, 1), (0, 2**70)):
        with pytest.raises(InputError, match="are none of this network"):
            FieldThinning(NETWORK, {INSIDE: wrong})
    with pytest.raises(InputError, match="are none of this network"):
        FieldThinning(NETWORK, {"alone/nothing": (0,)})
    with pytest.raises(InputError, match="are none of this network"):
        FieldThinning(NETWORK, {INSIDE: ()})
    with pytest.raises(InputError, match="has weights of shape"):
        FieldThinning(NETWORK, {INSIDE: (0, 1)}).solved({"alone/c2/1": np.zeros((8, 3, 3, 3), np.float32)})


def test_a_plan_with_channels_that_are_not_there_is_refused(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    made = make_refit_bundle([NETWORK], [], "plan", tmp_path, thinnings=[FieldThinning(NETWORK, {STREAM: (0, 3, 5)})])
    plan = json.loads(made.read(PLAN))
    stage = next(stage for stage in plan["grafts"][0]["stages"] if stage["left"])
    assert stage["left"] == [0, 3, 5]
    for wrong in ([0, 3, 8], [-3, -2, -1], [3, 3, 3], [5, 3, 0], [0, 3, 2**70]):
        stage["left"] = wrong
        contents = {file: made.read(file) for file in made.manifest.files} | {PLAN: json.dumps(plan).encode()}
        with pytest.raises(BundleError, match="the plan of plan is damaged"):
            RefitModel(Bundle.create(made.manifest, contents))


SETTINGS = """
[bundle]
name = "alone"
[budget]
min_agreement = 0.8
[graft]
fit_frames = 200
thin = 0.6
[convert]
precision = "float32"
[[task]]
name = "alone"
model = "alone.onnx"
kind = "classification"
labels = ["no", "maybe", "yes"]
preprocessing = { size = [8, 8], color = "grey" }
"""


def test_channels_chosen_at_home_are_solved_on_the_device_and_built(
    onnx2tf_environment: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*argv: str) -> str:
        assert main(list(argv)) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    onnx.save(NETWORK.model, "alone.onnx")
    images = np.stack(frames(900))
    np.save("frames.npy", images[:400])
    np.save("site.npy", images[400:])
    Path("multigraft.toml").write_text('frames = "frames.npy"' + SETTINGS)
    Path("no-frames.toml").write_text('statistics = "site.mgstats"' + SETTINGS)
    planned = json.loads(run("calibrate", "plan", "multigraft.toml", "-o", "home.mgplan", "--json"))
    before, after = planned["thinned"]["alone"]["weights"]
    assert after <= 0.6 * before and not planned["shares"]
    site = ["--source", "site.npy"]
    run("calibrate", "refit", "home.mgplan", *site, "--frames", "300", "-o", "site.mgrefit", "--json")
    measured = Refit.open(Path("site.mgrefit")).grafts[0].agreement
    run("calibrate", "prepare", "multigraft.toml", "-o", "home.mgtaps")
    run("calibrate", "collect", "home.mgtaps", *site, "--minibatch", "8", "-o", "site.mgstats")
    run("build", "no-frames.toml", "--refit", "site.mgrefit", "-o", "home.graft", "--precision", "int8")
    task = Bundle.open("home.graft").manifest.task("alone")
    # Where there are no frames at home, the device's own figure stands.
    assert measured is not None and task.fidelity["grafted_agreement"] == measured
    assert task.fidelity["thinned"]["weights"] == [before, after]
    strict = Path("no-frames.toml").read_text().replace("0.8", "0.9999").replace("thin = 0.6", "")
    Path("strict.toml").write_text(strict)
    assert "alone is left whole: thinned on a device it shows" in run(
        "graft", "strict.toml", "--refit", "site.mgrefit", "-o", "strict.onnx"
    )
    run("graft", "multigraft.toml", "--refit", "site.mgrefit", "-o", "home.onnx")
    assert Network("alone", onnx.load("home.onnx"), NETWORK.preprocessing, "classification").weights == after
