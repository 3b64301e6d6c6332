"""What a build takes where networks may be thinned, and what it says of it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from multigraft.agreement.agreement import Agreement
from multigraft.cli.shared.settings_options import load_frames
from multigraft.converters.build import Grafted, graft
from multigraft.converters.graft.explanation import poor_bargain
from multigraft.converters.graft.sharing_plan import Limits, SharingPlan
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.network.network import Network
from multigraft.converters.network.thinned_network import ThinnedNetwork
from multigraft.converters.settings.settings import Settings
from multigraft.converters.settings.thin_shares import ThinShares, parse_thin
from multigraft.errors import ConfigurationError
from tests.converters.graft.networks import GREY, frames, model, perturbed, residual_network

HEAD = 'frames = "frames.npy"\n[budget]\nmin_agreement = 0.8\n[graft]\nfit_frames = 96\n{graft}\n'
TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "regression"
tolerance = 1.0
preprocessing = {{ size = [8, 8], color = "grey", scale = 0.00392156862745098 }}
"""


def project(folder: Path, names: tuple[str, ...], how: str) -> Path:
    first = residual_network("first", 1, width=16)
    related = perturbed(first, "second", 0.01) if len(names) > 1 else None
    for network in (first, related):
        if network is not None:
            onnx.save(network.model, folder / f"{network.name}.onnx")
    np.save(folder / "frames.npy", np.stack(frames(240)))
    text = HEAD.format(graft=how) + "".join(TASK.format(name=name) for name in names)
    (folder / "multigraft.toml").write_text(text, "utf-8")
    return folder / "multigraft.toml"


def grafted(folder: Path, names: tuple[str, ...], how: str) -> Grafted:
    return graft(Settings.load(project(folder, names, how)), load_frames)


def test_a_single_network_is_thinned_to_the_share_that_was_asked_for(tmp_path: Path) -> None:
    made = grafted(tmp_path, ("first",), "thin = 0.6")
    (network,), plan = made.networks, made.outcome.chosen
    thinned = plan.thinned["first"]
    assert plan.weights == thinned.network.weights <= 0.6 * network.weights
    assert "first thinned to" in made.outcome.message
    kept = {layer.name: layer.kept for layer in thinned.layers}
    assert kept and all(thinned.network.shapes[f"first/{name}"][0] == count for name, count in kept.items())
    (task,) = made.multitask.tasks
    assert task.fidelity["grafted_agreement"]["frames"] == len(made.evidence["first"].prove)
    assert task.fidelity["thinned"]["weights"] == [network.weights, thinned.network.weights]


def test_auto_takes_the_least_that_keeps_the_budget_on_frames_that_choose(tmp_path: Path) -> None:
    made = grafted(tmp_path, ("first",), 'thin = "auto"')
    plan = made.outcome.chosen
    assert plan.thinned and plan.weights < made.networks[0].weights
    point = next(p for p in made.outcome.front if p.weights == plan.weights)
    assert point.lower_bound >= 0.8


def test_effort_bounds_the_rounds_and_progress_counts_them(tmp_path: Path) -> None:
    lines: list[str] = []
    graft(Settings.load(project(tmp_path, ("first",), 'thin = "auto"\neffort = "low"')), load_frames, lines.append)
    rounds = [line for line in lines if "(round" in line]
    assert 1 <= len(rounds) <= 2 and all(line.endswith("of at most 2)") for line in rounds)
    steps = [line for line in lines if line.startswith("search: step")]
    assert steps[0].startswith("search: step 1 of about 3"), "the channels are looked at, then there are two rounds"
    assert "of the weights" in steps[-1]


def test_what_no_narrower_network_keeps_is_told_with_the_nearest(tmp_path: Path) -> None:
    settings = Settings.load(project(tmp_path, ("first",), 'thin = "auto"'))
    task = dataclasses.replace(settings.tasks[0], tolerance=1e-6)
    made = graft(dataclasses.replace(settings, tasks=(task,)), load_frames)
    assert not made.outcome.chosen.thinned
    told = re.search(r"no narrower network .*\(first thinned to .* shows a bound of ([0-9.]+)\)", made.outcome.message)
    assert told is not None and float(told[1]) < 0.8


def test_thinning_alone_is_called_better_where_sharing_keeps_no_budget(tmp_path: Path) -> None:
    path = project(tmp_path, ("first", "second"), 'thin = "auto"')
    onnx.save(residual_network("second", 7, width=16).model, tmp_path / "second.onnx")
    settings = Settings.load(path)
    tasks = [dataclasses.replace(task, tolerance=0.1) for task in settings.tasks]
    made = graft(dataclasses.replace(settings, tasks=tuple(tasks)), load_frames)
    assert made.outcome.chosen.thinned and not made.outcome.chosen.grafts
    assert made.outcome.message.startswith(
        "nothing shared: no graft keeps an agreement bound of 0.8 (the best reaches "
    )
    assert "); thinning alone is better: " in made.outcome.message


def test_an_interrupted_search_goes_on_with_what_it_had_seen_and_made(tmp_path: Path) -> None:
    """Ended after the first network that was thinned, it neither looks at channels nor makes that one again."""
    settings = Settings.load(project(tmp_path, ("first",), 'thin = "auto"'))
    whole = graft(settings, load_frames)
    lines: list[str] = []

    def ends_in_round_2(line: str) -> None:
        lines.append(line)
        if "(round 2 of" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        graft(settings, load_frames, ends_in_round_2, checkpoints=Checkpoints(tmp_path / "steps"))
    assert any(line.startswith("weigh channels") for line in lines)
    solved = sum(line.startswith("solve layers") for line in lines)
    again: list[str] = []
    resumed = graft(settings, load_frames, again.append, checkpoints=Checkpoints(tmp_path / "steps"))
    before_round_2 = again[: next(i for i, line in enumerate(again) if "(round 2 of" in line)]
    assert solved and not any(line.startswith(("weigh channels", "solve layers")) for line in before_round_2)
    made, other = (one.outcome.chosen.thinned["first"].network.model for one in (resumed, whole))
    assert made.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_what_stands_on_a_trunk_is_thinned_with_it_and_the_segments_answer(tmp_path: Path) -> None:
    made = grafted(tmp_path, ("first", "second"), 'thin = 0.6\nshare = { second = "2" }')
    plan = made.outcome.chosen
    assert list(plan.grafts) == ["second"] and list(plan.thinned) == ["first"]
    shared = sum(n.weights for n in made.networks) - made.networks[0].cut_points[1].weights
    assert plan.weights <= 0.6 * shared
    x = made.networks[0].prepare(made.evidence["first"].fit[:8])
    whole = Network("whole", made.multitask.model, GREY)
    outputs = whole.run(x)
    assert (whole.weights, whole.macs) == (plan.weights, plan.macs)
    for task, network in zip(made.multitask.tasks, made.networks, strict=True):
        original = network.run(x)[network.outputs[0]]
        assert np.abs(outputs[f"whole/{task.outputs[0]}"] - original).max() < 1.0


def test_a_share_of_what_stands_on_a_trunk_is_told_where_it_belongs(tmp_path: Path) -> None:
    how = 'thin = { first = "auto", second = 0.5 }\nshare = { second = "2" }'
    made = grafted(tmp_path, ("first", "second"), how)
    assert not made.outcome.chosen.thinned
    assert "second stands on the trunk of first" in made.outcome.message and "no channels" not in made.outcome.message


@pytest.mark.parametrize("share", ['"auto"', "0.6"])
def test_where_a_donor_keeps_its_channels_the_own_parts_of_others_go(tmp_path: Path, share: str) -> None:
    how = f'thin = {{ first = "none", second = {share} }}\nshare = {{ second = "2" }}'
    made = grafted(tmp_path, ("first", "second"), how)
    plan, (first, second) = made.outcome.chosen, made.networks
    graft = plan.grafts["second"]
    assert plan.narrowed == {"second"} and not plan.thinned and graft.thinned is not None
    own = second.weights - second.cut_points[1].weights
    assert graft.thinned.weights == own and graft.own_weights <= (0.62 if share == "0.6" else 0.99) * own
    assert plan.weights == first.weights + graft.own_weights
    assert "the own part of second thinned to" in made.outcome.message
    whole, x = Network("whole", made.multitask.model, GREY), first.prepare(made.evidence["first"].fit[:8])
    assert (whole.weights, whole.macs) == (plan.weights, plan.macs)
    tasks = {task.name: task for task in made.multitask.tasks}
    outputs = whole.run(x)
    np.testing.assert_array_equal(outputs[f"whole/{tasks['first'].outputs[0]}"], first.run(x)[first.outputs[0]])
    given, wanted = outputs[f"whole/{tasks['second'].outputs[0]}"], second.run(x)[second.outputs[0]]
    assert 0 < np.abs(given - wanted).max() < 1.0
    assert tasks["second"].fidelity["thinned"]["weights"] == [own, graft.own_weights]
    assert tasks["second"].fidelity["grafted_agreement"]["value"] >= 0.8 and "thinned" not in tasks["first"].fidelity


def test_a_tail_goes_alone_beside_a_trunk_and_a_network_without_relatives(tmp_path: Path) -> None:
    path = project(
        tmp_path,
        ("first", "second", "loner"),
        'thin = { second = 0.7, loner = 0.6 }\nshare = { second = "2", loner = "none" }',
    )
    onnx.save(residual_network("loner", 7, width=16).model, tmp_path / "loner.onnx")
    made = graft(Settings.load(path), load_frames)
    plan = made.outcome.chosen
    assert plan.narrowed == {"second", "loner"} and list(plan.thinned) == ["loner"] and list(plan.grafts) == ["second"]
    assert "loner thinned to" in made.outcome.message and "the own part of second thinned to" in made.outcome.message
    point = next(p for p in made.outcome.pareto_json() if p["chosen"])
    assert point["thinned"].keys() == {"second", "loner"}


def test_a_share_of_what_has_no_channels_to_lose_is_told_by_name(tmp_path: Path) -> None:
    path = project(tmp_path, ("first", "second"), "thin = { first = 0.6, second = 0.5 }")
    nodes = [helper.make_node("Flatten", ["image"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"])]
    weights = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    onnx.save(model(nodes, {"w": weights}, (1, 8, 8), {"y": (3,)}), tmp_path / "second.onnx")
    outcome = graft(Settings.load(path), load_frames).outcome
    assert not outcome.chosen.thinned
    assert outcome.message.endswith("nothing thinned: no channels of second can go")


def test_no_step_is_left_of_a_search_that_has_ended(tmp_path: Path) -> None:
    """Second is never thinned alone here, though that was expected."""
    lines: list[str] = []
    path = project(tmp_path, ("first", "second"), 'thin = 0.6\nshare = { second = "2" }')
    graft(Settings.load(path), load_frames, lines.append)
    last = [line for line in lines if line.startswith("search: step")][-1]
    assert last.startswith("search: step 3 of about 3")


def test_none_keeps_a_network_as_it_came(tmp_path: Path) -> None:
    made = grafted(tmp_path, ("first",), 'thin = { first = "none" }')
    assert not made.outcome.chosen.thinned and made.outcome.chosen.weights == made.networks[0].weights


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("thin = 1.5", "graft.thin is 1.5"),
        ('thin = "much"', "graft.thin is 'much'"),
        ("thin = { first = 0 }", "graft.thin.first is 0"),
        ("thin = { frist = 0.5 }", "graft.thin.frist is not the name of a task; did you mean first"),
    ],
)
def test_what_is_no_share_is_refused_with_its_place(tmp_path: Path, how: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.load(project(tmp_path, ("first",), how))
    assert problem in str(refused.value)


def test_options_go_over_the_settings_and_are_refused_by_name() -> None:
    asked = parse_thin(["auto", "digit=0.5"], ThinShares(), ["digit", "garment"], Path("multigraft.toml"))
    assert (asked.of("garment"), asked.of("digit")) == ("auto", 0.5)
    for wrong in ("2", "digit=", "digit=x", "digits=0.5"):
        with pytest.raises(ConfigurationError, match=f"--thin {wrong} "):
            parse_thin([wrong], ThinShares(), ["digit"], Path("multigraft.toml"))


def test_thinning_without_frames_is_refused(tmp_path: Path) -> None:
    settings = Settings.load(project(tmp_path, ("first",), 'thin = "auto"'))
    (tmp_path / "home.mgstats").write_bytes(b"")
    bare = dataclasses.replace(settings, frames=None, statistics=(tmp_path / "home.mgstats",))
    with pytest.raises(ConfigurationError, match="thin needs frames"):
        graft(bare, load_frames)


def test_a_plan_that_gains_less_than_it_loses_is_called_so() -> None:
    made = Agreement(0.968, 0.96, 0.95, 1000, "classification", None, "equal class")
    network = residual_network("first", 1)
    plan = SharingPlan(
        {}, 990, 910, 0.968, 0.96, thinned={"first": ThinnedNetwork(network, made, (), network.weights, network.macs)}
    )
    front = [SharingPlan({}, 1000, 1000), plan]
    said = poor_bargain(plan, front, Limits(prefer="weights"), thins=False)
    assert "1.0 % of the weights for 3.2 % of answers" in said and 'thin = "auto"' in said
    assert poor_bargain(plan, front, Limits(prefer="macs"), thins=True) == ""
    assert poor_bargain(front[0], front, Limits(), thins=True) == ""
