"""The learner in C against the one in numpy: sums, solved layer and answers bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multigraft.errors import InputError
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.learning.last_layer import Known, Learning, widened
from multigraft.firmware_gen.learning.learnt_layer import MOST_FRAMES, LearntLayer, learner_of, products_of
from multigraft.firmware_gen.passes.fold_padding import fold_padding
from multigraft.firmware_gen.passes.pruning import prune
from multigraft.firmware_gen.program.program import load
from multigraft.serial_protocol import KEEP
from multigraft.tensors.arrays import Array
from tests.firmware_gen.host import SANITIZERS
from tests.firmware_gen.learning.boards_side import DUMP, PUT_BACK, SOLVE, UNLEARN, HostBoard, learn, run
from tests.firmware_gen.models import Builder, activation

BEFORE, CLASSES = 5, 7


def model(features: int, per_channel: bool, zero_point: int = -128, fused: str = "NONE") -> bytes:
    b = Builder(2)
    b.add(activation("features", (1, features), 0.02, zero_point))
    return b.model(["features"], [b.dense("logits", "features", BEFORE, per_channel=per_channel, fused=fused)])


def in_numpy(content: bytes, learning: Learning) -> LearntLayer:
    program = prune(fold_padding(widened(load(content), learning)))
    return LearntLayer(learner_of(program, learning, BEFORE))


def clusters(features: int, count: int, seed: int = 1) -> tuple[Array, Array]:
    """Frames of as many classes as are learnt, and which."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).uniform(-128, 60, (CLASSES, features))
    labels = random.integers(0, CLASSES, count)
    frames = np.clip(random.normal(centres[labels], 12.0), -128, 127).astype(np.int8)
    return frames, labels


@pytest.mark.parametrize(
    ("features", "per_channel", "zero_point", "fused", "flags"),
    [
        (1, False, 3, "NONE", tuple(SANITIZERS)),
        (17, True, -128, "NONE", tuple(SANITIZERS)),
        (17, True, -128, "RELU", ("-O2", "-std=gnu11", "-march=native", "-ffp-contract=fast")),
        (40, False, -5, "NONE", ("-O3", "-std=gnu11", "-march=native", "-ffp-contract=fast")),
    ],
)
def test_what_is_learnt_is_what_numpy_learns(
    features: int, per_channel: bool, zero_point: int, fused: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """Before anything is learnt, after some frames, after more, and after all is forgotten."""
    content, learning = model(features, per_channel, zero_point, fused), Learning("", CLASSES)
    learnt = in_numpy(content, learning)
    board = HostBoard(generate(content, core=CORES["m3"], learn=learning), tmp_path, *flags)
    frames, labels = clusters(features, 60)
    others, _ = clusters(features, 20, 2)
    untaught = learnt.answer(others)
    shown = [k if number % 4 else KEEP for number, k in enumerate(labels.tolist())]
    commands, wanted, dumps = [run(frame) for frame in others], [untaught], []
    for some in (slice(0, 20), slice(20, 60)):
        for frame, label in zip(frames[some], shown[some], strict=True):
            commands += [run(frame), learn(label)]
            wanted.append(learnt.answer(frame[None]))
            learnt.learn(frame, label)
        learnt.solve()
        dumps.append((learnt.sums(), learnt.stored_layer()))
        commands += [SOLVE, DUMP, *map(run, others)]
        wanted.append(learnt.answer(others))
    commands += [UNLEARN, *map(run, others)]
    wanted.append(untaught)
    said = board.told(commands)
    assert set(said.statuses) == {0}
    assert said.dumps == dumps
    np.testing.assert_array_equal(said.answers, np.concatenate(wanted))
    if features > 1 and fused == "NONE":
        right = wanted[-2].argmax(axis=1) == clusters(features, 20, 2)[1]
        assert right.mean() > 0.8 and (untaught.argmax(axis=1) < BEFORE).all()


def test_sums_do_not_depend_on_the_order_and_can_be_put_back(tmp_path: Path) -> None:
    content, learning = model(9, True), Learning("", CLASSES)
    board = HostBoard(generate(content, core=CORES["m3"], learn=learning), tmp_path, *SANITIZERS)
    frames, labels = clusters(9, 30)
    order = np.random.default_rng(3).permutation(30)
    first = board.told([c for k in range(30) for c in (run(frames[k]), learn(int(labels[k])))] + [SOLVE, DUMP])
    other = board.told([c for k in order for c in (run(frames[k]), learn(int(labels[k])))] + [SOLVE, DUMP])
    assert first.dumps == other.dumps
    restored = board.told([PUT_BACK + first.dumps[0][0], SOLVE, DUMP])
    assert restored.dumps == first.dumps


def test_frames_of_before_hold_the_answers(tmp_path: Path) -> None:
    """Sums over known frames are in the flash; each known class weighs as much as a learnt one, however many frames."""
    content = model(17, True)
    frames, labels = clusters(17, 400)
    old, new = frames[labels < BEFORE], frames[labels == BEFORE]
    teacher = in_numpy(content, Learning("", CLASSES))
    for frame, label in zip(old, labels[labels < BEFORE], strict=True):
        teacher.learn(frame, int(label))
    logits = teacher.answer(old)
    known = Known(products_of(old, -128), len(old), 3.0, -3.0)
    learning = Learning("", CLASSES, known)
    learnt = in_numpy(content, learning)
    board = HostBoard(generate(content, core=CORES["m3"], learn=learning), tmp_path, *SANITIZERS)
    commands = []
    for frame in new[:10]:
        commands += [run(frame), learn(BEFORE)]
        learnt.learn(frame, BEFORE)
    learnt.solve()
    said = board.told([*commands, SOLVE, DUMP, *map(run, old[:30])])
    assert said.dumps == [(learnt.sums(), learnt.stored_layer())]
    np.testing.assert_array_equal(said.answers[10:], learnt.answer(old[:30]))
    assert (learnt.answer(new[10:]).argmax(axis=1) == BEFORE).mean() > 0.9
    moved = learnt.answer(old).astype(int)[:, :BEFORE] - logits.astype(int)[:, :BEFORE]
    assert np.abs(moved).mean() < 6
    forgetful = in_numpy(content, Learning("", CLASSES))
    for frame in new[:10]:
        forgetful.learn(frame, BEFORE)
    forgetful.solve()
    assert (
        (forgetful.answer(old).argmax(axis=1) == BEFORE).mean() > 0.5 > (learnt.answer(old).argmax(1) == BEFORE).mean()
    )


def test_what_cannot_be_learnt_changes_nothing(tmp_path: Path) -> None:
    """No such class, no frame since the last, nothing to solve from, sums that are full or of no frames."""
    content, learning = model(9, True), Learning("", CLASSES)
    board = HostBoard(generate(content, core=CORES["m3"], learn=learning), tmp_path, *SANITIZERS)
    frame = clusters(9, 1)[0][0]
    learnt = in_numpy(content, learning)
    untaught = (learnt.sums(), learnt.stored_layer())
    said = board.told(
        [learn(0), run(frame), learn(CLASSES), learn(KEEP + 1), SOLVE, DUMP, learn(KEEP), learn(KEEP), SOLVE]
    )
    assert said.statuses == [-2, 0, -1, -1, -1, 0, 0, -2, -1]
    assert said.dumps == [untaught]
    learnt.products[-1] = MOST_FRAMES
    full = learnt.sums()
    said = board.told([PUT_BACK + full, run(frame), learn(0), DUMP])
    assert said.statuses == [0, 0, -3, 0]
    assert said.dumps == [(full, untaught[1])]
    with pytest.raises(InputError, match="33025 frames and can take no more; solve and begin anew"):
        learnt.learn(frame, 0)
    with pytest.raises(InputError, match="no class 7; choose from 0 to 6"):
        learnt.learn(frame, CLASSES)
    random = np.random.default_rng(0)
    hostile = [random.bytes(len(full)) for _ in range(200)] + [b"\x7f" * len(full), b"\xff" * len(full)]
    said = board.told([c for sums in hostile for c in (PUT_BACK + sums, SOLVE, run(frame), learn(1))])
    assert set(said.statuses[1::4]) <= {0, -1}
