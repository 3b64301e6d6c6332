"""A power cut at any moment of a deployment leaves a bundle that can be served: all states that the syncs allow."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from multigraft.errors import UsageError
from multigraft.files import write_bytes
from multigraft.runtime.deploy import store, trial
from multigraft.runtime.deploy.deploying import Deployed, Policy, deploy
from tests.bundle_builder import build
from tests.runtime.deploy.crash_states import states_after, states_of, write_tree


class Bundles:
    """Three bundles that differ, as files."""

    def __init__(self, folder: Path) -> None:
        self.contents = []
        for number, width in enumerate((8, 9, 10)):
            path = build(heads=(("digit", "classification"),), width=width).bundle.write(folder / f"{number}.graft")
            self.contents.append(path.read_bytes())

    def deploy(self, number: int, state: Path, kept: int = 2) -> Deployed:
        return deploy(self.contents[number], None, state, Policy(kept=kept))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("built"))


def served(folder: Path, said: list[str]) -> str | None:
    """Digest of what would be served, None where nothing was deployed; a damaged bundle raises."""
    try:
        return trial.starting(folder, said.append).name
    except UsageError:
        return None


def outcomes(states: list[dict[str, bytes | str | None]], folder: Path) -> set[str | None]:
    found = set()
    for number, tree in enumerate(states):
        copy = folder / str(number)
        write_tree(tree, copy)
        said: list[str] = []
        found.add(served(copy, said))
        assert not [sentence for sentence in said if "damaged" in sentence or "missing" in sentence]
        shutil.rmtree(copy)
    return found


def settle(state: Path) -> None:
    trial.starting(state)
    trial.settled(state)


def test_the_enumeration_finds_a_missing_sync(in_memory: Path) -> None:
    root = in_memory / "root"
    root.mkdir()
    (root / "a").write_bytes(b"before")

    def careless() -> None:
        (root / "b").write_bytes(b"after!")
        (root / "b").replace(root / "a")

    assert {tree.get("a") for tree in states_of(root, careless)} == {b"before", b"after!", b"aft", b""}

    def careful() -> None:
        write_bytes(root / "a", b"second")

    assert {tree.get("a") for tree in states_of(root, careful)} == {b"after!", b"second"}
    assert {tree.get("a") for tree in states_after(root, lambda: write_bytes(root / "a", b"third"))} == {b"third"}


def test_a_power_cut_during_a_deployment_leaves_the_old_or_the_new(bundles: Bundles, in_memory: Path) -> None:
    state = in_memory / "state"
    old = bundles.deploy(0, state).digest
    settle(state)
    new = []
    states = states_of(state, lambda: new.append(bundles.deploy(1, state).digest))
    assert len(states) > 30
    assert outcomes(states, in_memory) == {old, new[0]}


def test_a_deployment_that_has_ended_is_safe(bundles: Bundles, in_memory: Path) -> None:
    state = in_memory / "state"
    bundles.deploy(0, state)
    settle(state)
    new = []
    states = states_after(state, lambda: new.append(bundles.deploy(1, state).digest))
    assert outcomes(states, in_memory) == {new[0]}


def test_a_power_cut_during_the_first_deployment_leaves_nothing_or_the_new(bundles: Bundles, in_memory: Path) -> None:
    state = in_memory / "state"
    store.make_state(state)
    new = []
    states = states_of(state, lambda: new.append(bundles.deploy(0, state).digest))
    assert outcomes(states, in_memory) == {None, new[0]}


@pytest.mark.parametrize("kept", [0, 2])
def test_a_power_cut_while_old_bundles_are_removed(bundles: Bundles, in_memory: Path, kept: int) -> None:
    state = in_memory / "state"
    for number in (0, 1):
        bundles.deploy(number, state)
        settle(state)
    old = store.current(state)
    assert old is not None
    new = []
    states = states_of(state, lambda: new.append(bundles.deploy(2, state, kept).digest))
    assert outcomes(states, in_memory) == {old.name, new[0]}
    assert len(store.bundles(state)) == 2 + min(kept, 1)


def failed_trial(state: Path) -> Callable[[], object]:
    for _ in range(trial.TRIALS):
        trial.starting(state)
    return lambda: trial.starting(state, lambda said: None)


@pytest.mark.parametrize("how", ["by itself", "by hand"])
def test_a_power_cut_during_a_rollback_ends_at_the_old(bundles: Bundles, in_memory: Path, how: str) -> None:
    state = in_memory / "state"
    old = bundles.deploy(0, state).digest
    settle(state)
    new = bundles.deploy(1, state).digest
    step = failed_trial(state) if how == "by itself" else lambda: trial.roll_back(state)
    found = outcomes(states_of(state, step), in_memory)
    # What has failed its trial is not served again, however often the power goes while it is given up.
    assert found == ({old} if how == "by itself" else {old, new})


def test_a_power_cut_while_it_settles(bundles: Bundles, in_memory: Path) -> None:
    state = in_memory / "state"
    bundles.deploy(0, state)
    settle(state)
    new = bundles.deploy(1, state).digest
    trial.starting(state)
    assert outcomes(states_of(state, lambda: trial.settled(state)), in_memory) == {new}
