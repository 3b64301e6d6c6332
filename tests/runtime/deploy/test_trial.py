"""A new bundle is served on trial; one that never settles, or is damaged, gives way to the one before by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from multigraft.bundle.bundle import MODEL, Bundle
from multigraft.errors import BundleError, UsageError
from multigraft.files import sha256_of
from multigraft.runtime.deploy import store, trial
from tests.bundle_builder import build


@pytest.fixture(scope="module")
def graft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build().bundle.write(tmp_path_factory.mktemp("built") / "home.graft")


class Device:
    """A state folder and what was said about it."""

    def __init__(self, state: Path, graft: Path) -> None:
        self.state, self.graft = state, graft
        self.boot_id = state.with_name("boot_id")
        self.boots = 0
        self.boot()
        self.said: list[str] = []

    def deploy(self, letter: str) -> Path:
        """The same bundle under another digest, so that several can be told apart."""
        folder = store.put(self.state, sha256_of(letter.encode()), Bundle.open(self.graft))
        trial.switch_to(self.state, folder)
        return folder

    def start(self) -> Path:
        return trial.starting(self.state, self.said.append, self.boot_id)

    def boot(self) -> None:
        """As after a power cut."""
        self.boots += 1
        self.boot_id.write_text(f"6f0d1a4e-0000-4000-8000-{self.boots:012}\n")

    def cut_off(self) -> Path:
        """What a start serves that ends with the machine."""
        served = self.start()
        self.boot()
        return served

    def damage(self, folder: Path) -> None:
        model = folder / MODEL
        model.write_bytes(model.read_bytes()[:-1])


@pytest.fixture
def device(in_memory: Path, graft: Path) -> Device:
    return Device(in_memory / "state", graft)


def settle_one(device: Device, letter: str = "a") -> Path:
    folder = device.deploy(letter)
    assert device.start() == folder
    trial.settled(device.state, folder)
    return folder


def test_without_a_bundle_the_remedy_is_to_deploy_one(device: Device) -> None:
    with pytest.raises(UsageError, match="run: multigraft deploy"):
        device.start()


def test_a_bundle_that_never_settles_rolls_back_after_its_trials(device: Device) -> None:
    old = settle_one(device)
    new = device.deploy("b")
    assert [device.start() for _ in range(trial.TRIALS)] == [new] * trial.TRIALS
    assert device.said == []
    assert [device.start() for _ in range(5)] == [old] * 5
    assert len(device.said) == 1 and "rolled back" in device.said[0]
    assert store.current(device.state) == old


def test_a_bundle_that_settles_is_never_rolled_back(device: Device) -> None:
    settle_one(device)
    new = device.deploy("b")
    device.start()
    trial.settled(device.state)
    assert [device.start() for _ in range(9)] == [new] * 9


def test_a_good_bundle_outlives_power_cuts(device: Device) -> None:
    settle_one(device)
    new = device.deploy("b")
    assert [device.cut_off() for _ in range(trial.OUTAGES)] == [new] * trial.OUTAGES
    assert device.start() == new
    trial.settled(device.state, new)
    assert [device.cut_off() for _ in range(2 * trial.OUTAGES)] == [new] * 2 * trial.OUTAGES
    assert device.said == []


def test_one_that_brings_the_machine_down_rolls_back_in_the_end(device: Device) -> None:
    old = settle_one(device)
    new = device.deploy("b")
    served = [device.cut_off() for _ in range(trial.OUTAGES + 4)]
    assert served == [new] * (trial.OUTAGES + 1) + [old] * 3
    assert f"each of the {trial.OUTAGES + 1} times that the machine went down" in device.said[0]


def test_power_cuts_between_do_not_hide_crashes(device: Device) -> None:
    old = settle_one(device)
    new = device.deploy("b")
    served = []
    for _ in range(trial.TRIALS + 1):
        # One crashes, and the next ends with the machine.
        served += [device.start(), device.cut_off()]
    started = 2 * trial.TRIALS - 1
    assert served == [new] * started + [old] * 3


def test_a_bundle_whose_service_is_told_to_end_has_not_failed(device: Device) -> None:
    settle_one(device)
    new = device.deploy("b")
    for _ in range(3 * trial.TRIALS):
        assert device.start() == new
        trial.ended(device.state, new)
        # An orderly restart of the machine is nothing else.
        device.boot()
    assert device.start() == new
    assert trial.read_trial(device.state).outages == 0


def test_orderly_ends_between_do_not_hide_crashes(device: Device) -> None:
    old = settle_one(device)
    new = device.deploy("b")
    served = []
    for _ in range(trial.TRIALS + 1):
        # One crashes, and the next is told to end.
        served += [device.start(), device.start()]
        trial.ended(device.state, served[-1])
    assert served == [new] * (2 * trial.TRIALS - 1) + [old] * 3


def test_one_that_was_told_to_end_before_it_settled_is_nothing_to_come_back_to(device: Device) -> None:
    old = settle_one(device)
    trial.ended(device.state, device.deploy("b"))
    trial.ended(device.state, device.start())
    new = device.deploy("c")
    assert [device.start() for _ in range(trial.TRIALS + 1)] == [new] * trial.TRIALS + [old]


def test_the_end_of_another_bundles_service_changes_nothing(device: Device) -> None:
    old = settle_one(device)
    new = device.deploy("b")
    for _ in range(trial.TRIALS):
        assert device.start() == new
        trial.ended(device.state, old)
    assert device.start() == old


def test_a_bundle_that_is_deployed_again_has_no_outages_behind_it(device: Device) -> None:
    settle_one(device)
    new = device.deploy("b")
    for _ in range(trial.OUTAGES):
        device.cut_off()
    other = device.deploy("c")
    assert device.cut_off() == other
    assert device.deploy("b") == new
    assert [device.cut_off() for _ in range(trial.OUTAGES)] == [new] * trial.OUTAGES


def test_where_the_kernel_tells_no_boot_id_every_start_counts(device: Device) -> None:
    old = settle_one(device)
    new = device.deploy("b")
    device.boot_id.unlink()
    assert [device.start() for _ in range(trial.TRIALS + 1)] == [new] * trial.TRIALS + [old]


def test_the_first_bundle_has_nothing_to_come_back_to_and_stays(device: Device) -> None:
    only = device.deploy("a")
    assert [device.start() for _ in range(9)] == [only] * 9


def test_one_that_was_never_started_is_not_settled_by_the_one_that_runs(device: Device) -> None:
    old = settle_one(device)
    new = device.deploy("b")
    trial.settled(device.state)
    trial.settled(device.state, old)
    assert json.loads((device.state / trial.TRIAL).read_text())["settled"] is False
    assert [device.start() for _ in range(trial.TRIALS + 1)] == [new] * trial.TRIALS + [old]


def test_a_damaged_bundle_gives_way_and_says_so(device: Device) -> None:
    old = settle_one(device)
    new = settle_one(device, "b")
    device.damage(new)
    assert device.start() == old
    assert "damaged" in device.said[0]
    assert device.start() == old
    assert len(device.said) == 1


def test_when_the_previous_one_is_damaged_too_an_older_one_serves(device: Device) -> None:
    oldest, older, new = (settle_one(device, letter) for letter in "abc")
    device.damage(new)
    device.damage(older)
    assert device.start() == oldest


def test_nothing_whole_is_an_error_with_a_remedy(device: Device) -> None:
    device.damage(settle_one(device))
    with pytest.raises(BundleError, match="deploy it again"):
        device.start()


def test_two_bad_bundles_in_a_row_come_back_to_the_one_that_served(device: Device) -> None:
    good = settle_one(device)
    device.deploy("b")
    device.start()
    device.deploy("c")
    served = [device.start() for _ in range(9)]
    assert served[-1] == good
    assert served.index(good) == trial.TRIALS


def test_rolling_back_by_hand_and_deploying_again_gives_a_new_trial(device: Device) -> None:
    old, new = settle_one(device), settle_one(device, "b")
    assert trial.roll_back(device.state) == old
    assert device.start() == old
    with pytest.raises(UsageError, match="no bundle to come back to"):
        trial.roll_back(device.state)
    assert device.deploy("b") == new
    assert [device.start() for _ in range(trial.TRIALS + 1)] == [new] * trial.TRIALS + [old]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"good": 3, "starts": "x", "since": NaN, "bundle": []}'])
def test_a_damaged_note_of_the_trial_starts_a_new_one(device: Device, content: bytes) -> None:
    old, new = settle_one(device), settle_one(device, "b")
    (device.state / trial.TRIAL).write_bytes(content)
    assert [device.start() for _ in range(trial.TRIALS + 1)] == [new] * trial.TRIALS + [old]


def test_links_lead_into_the_store_and_nowhere_else(device: Device) -> None:
    settle_one(device)
    (device.state / "current").unlink()
    (device.state / "current").symlink_to("../../etc")
    assert store.current(device.state) is None


WITHOUT_MEMORY = """
import resource, sys
from pathlib import Path
from multigraft.runtime.deploy.trial import starting
size = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize:"))
most = int(size.split()[1]) * 1024 + (1 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
print(starting(Path(sys.argv[1])).name)
"""


def test_a_bundle_that_does_not_fit_into_memory_gives_way(in_memory: Path) -> None:
    state = in_memory / "state"
    digests = []
    for number, side in enumerate((28, 800)):
        path = build(heads=(("digit", "classification"),), size=(side, side, 1), width=1).bundle.write(
            in_memory / f"{number}.graft"
        )
        digests.append(sha256_of(path.read_bytes()))
        trial.switch_to(state, store.put(state, digests[-1], Bundle.open(path)))
    command = [sys.executable, "-c", WITHOUT_MEMORY, str(state)]
    served = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() for _ in range(4)]
    assert served == [digests[1]] * 3 + [digests[0]]
