"""A classifier in QEMU learns one more class: what its classes of before lose, and whether all bits are numpy's.

Usage: python -m tests.firmware_gen.learning.board NAME.graft TASK --known FRAMES --labelled FILE.npz --new FILE.npz
Of --labelled, ``frames`` and the array named as the task; of --new, ``frames``, of one class. Of these, the first are
learnt and the last hundred asked. Answers of all frames are numpy's, those of some are compared with the board's.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.cli.firmware.prepared_frames import prepared_frames
from multigraft.devices.target.board_learner import BoardLearner
from multigraft.devices.target.target import Target
from multigraft.devices.target.terminal_link import TerminalLink
from multigraft.files import sha256_of
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.inspection.reference import evaluate
from multigraft.firmware_gen.learning.known_frames import knows
from multigraft.firmware_gen.learning.last_layer import Learning, chain_of, widened
from multigraft.firmware_gen.learning.learnt_layer import LearntLayer, learner_of
from multigraft.firmware_gen.passes.fold_padding import fold_padding
from multigraft.firmware_gen.passes.pruning import prune
from multigraft.firmware_gen.program.program import Task, load
from multigraft.firmware_gen.project.folder import build_folder, write_folder
from multigraft.serial_protocol import name_on_device
from multigraft.tensors.arrays import Array

ASKED = 100
"""Of the new class, none of which is learnt."""


def main() -> None:
    """Print a row for each number of frames learnt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("task")
    parser.add_argument("--known", required=True)
    parser.add_argument("--known-frames", type=int, default=1000)
    parser.add_argument("--labelled", required=True)
    parser.add_argument("--new", required=True)
    parser.add_argument("--learnt", type=int, nargs="+", default=[5, 20, 50])
    parser.add_argument("--compared", type=int, default=20)
    parser.add_argument("--board", default="netduinoplus2", choices=[b.name for b in BOARDS.values() if b.qemu])
    options = parser.parse_args()
    bundle, task, board = Bundle.open(options.bundle), options.task, BOARDS[options.board]
    program = prune(fold_padding(load(bundle)))
    layer = program.steps[chain_of(program, Learning(task, 128))[0]].node
    before = layer.input(1).shape[0]
    source = layer.input(0)
    tapped = replace(
        program, tasks=(Task("features", (source.name,)),), tensors={**program.tensors, source.name: source}, exits=()
    )

    def frames_of(path: str, most: int | None = None) -> list[dict[str, Array]]:
        return [*itertools.islice(prepared_frames(bundle, path, task), most)]

    def features_of(frames: list[dict[str, Array]]) -> Array:
        return np.stack([evaluate(tapped, frame)[source.name].reshape(-1) for frame in frames])

    known = frames_of(options.known, options.known_frames)
    learning = Learning(task, before + 1, knows(program, Learning(task, before + 1), known))
    learner = learner_of(prune(fold_padding(widened(load(bundle), learning))), learning, before)
    old, new = frames_of(f"{options.labelled}:frames"), frames_of(f"{options.new}:frames")
    with np.load(options.labelled) as held:
        labels = held[task]
    old_features, new_features = features_of(old), features_of(new)
    at_first = LearntLayer(learner).answer(old_features).argmax(axis=1)
    print(f"{task} on {board.name}: {len(known)} known frames, {learner.ram_bytes} bytes of RAM beside the arena,")
    print(f"{learner.solving_bytes} in it; {100 * (at_first == labels).mean():.2f} % of {len(old)} right before")
    with tempfile.TemporaryDirectory() as name:
        project = generate(bundle, core=CORES[board.core], learn=learning)
        write_folder(project, board, sha256_of(bundle.model), Path(name))
        build_folder(Path(name))
        emulated = EmulatedBoard(board, Path(name) / "build/frames/firmware.elf")
        with emulated, TerminalLink(emulated.port) as link:
            emulated.resume()
            target = Target(link, timeout_s=600)
            on_board = BoardLearner(target)

            def answered(frame: dict[str, Array]) -> Array:
                inputs = {name_on_device(name): row for name, row in frame.items()}
                return next(iter(target.infer(inputs, [task]).outputs.values())).reshape(-1)

            for count in options.learnt:
                started = time.monotonic()
                on_board.forget()
                learnt = LearntLayer(learner)
                for frame, row in zip(new[:count], new_features, strict=False):
                    answered(frame)
                    on_board.learn(before)
                    learnt.learn(row, before)
                learnt.solve()
                cycles, _ = on_board.solve()
                same = (on_board.sums(), on_board.layer()) == (learnt.sums(), learnt.stored_layer())
                old_answers, new_answers = learnt.answer(old_features), learnt.answer(new_features[-ASKED:])
                some = [*zip(old, old_answers, strict=True)][: options.compared]
                some += [*zip(new[-ASKED:], new_answers, strict=True)][: options.compared]
                equal = sum(np.array_equal(answered(frame), answer) for frame, answer in some)
                right = 100 * (old_answers.argmax(axis=1) == labels).mean()
                found = 100 * (new_answers.argmax(axis=1) == before).mean()
                print(
                    f"{count:>4} learnt: {right:.2f} % of the old right, {found:.1f} % of {ASKED} new; sums and "
                    f"layer {'equal' if same else 'DIFFER'}, {equal} of {len(some)} answers equal; solved in {cycles} "
                    f"cycles, {time.monotonic() - started:.0f} s in all",
                    flush=True,
                )


if __name__ == "__main__":
    main()
