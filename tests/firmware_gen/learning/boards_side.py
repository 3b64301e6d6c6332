"""A generated learner on this machine: told frames and labels, asked for sums, the layer and answers."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multigraft.firmware_gen.project.project import Project
from multigraft.tensors.arrays import Array
from tests.firmware_gen.host import compile_host

MAIN = r"""
#include <stdio.h>
#include "model.h"
static int take(void *to, uint32_t bytes) { return fread(to, 1, bytes, stdin) == bytes; }
static void give(const void *from, uint32_t bytes) { fwrite(from, 1, bytes, stdout); }
int main(void)
{
    uint32_t word;
    for (uint8_t command; take(&command, 1);) {
        int32_t status = 0;
        if (command == 'r') {
            if (!take(model_inputs[0].data, model_inputs[0].bytes))
                return 2;
            status = model_run(MODEL_ALL_TASKS);
        } else if (command == 'l') {
            if (!take(&word, 4))
                return 2;
            status = model_learn(word);
        } else if (command == 's') {
            status = model_solve();
        } else if (command == 'u') {
            model_unlearn();
        } else if (command == 'w') {
            if (!take(model_learnt_sums(), MODEL_LEARN_SUMS_BYTES))
                return 2;
        }
        give(&status, 4);
        if (command == 'r')
            give(model_outputs[0].data, model_outputs[0].bytes);
        if (command == 'd') {
            give(model_learnt_sums(), MODEL_LEARN_SUMS_BYTES);
            give(model_learnt_layer(), MODEL_LEARN_LAYER_BYTES);
        }
    }
    return 0;
}
"""


@dataclass(frozen=True)
class Said:
    """What the program said: a status of each command, each run's answer, each dump's sums and layer."""

    statuses: list[int]
    answers: Array
    dumps: list[tuple[bytes, bytes]]


def run(frame: Array) -> bytes:
    """Answer a frame."""
    return b"r" + frame.tobytes()


def learn(label: int) -> bytes:
    """Learn the last frame."""
    return b"l" + struct.pack("<I", label)


SOLVE, DUMP, UNLEARN, PUT_BACK = b"s", b"d", b"u", b"w"


class HostBoard:
    """The project as a program of this machine."""

    def __init__(self, project: Project, folder: Path, *flags: str) -> None:
        self._program = compile_host(project, folder, *flags, main=MAIN)
        self._output = project.outputs[0]
        macros = dict(
            line.split()[1:3]
            for line in project.files["model.h"].splitlines()
            if line.startswith("#define MODEL_LEARN_")
        )
        self._sums, self._layer = (int(macros[f"MODEL_LEARN_{n}_BYTES"].rstrip("u")) for n in ("SUMS", "LAYER"))

    def told(self, commands: Iterable[bytes]) -> Said:
        """What it says to some commands, from its start on."""
        commands = list(commands)
        done = subprocess.run([str(self._program)], input=b"".join(commands), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[:4000]
        said, at = done.stdout, 0
        statuses: list[int] = []
        answers: list[Array] = []
        dumps: list[tuple[bytes, bytes]] = []
        for command in commands:
            statuses += struct.unpack_from("<i", said, at)
            at += 4
            if command[:1] == b"r":
                answers.append(np.frombuffer(said, np.int8, self._output.size, at))
                at += self._output.size
            if command == DUMP:
                dumps.append((said[at : at + self._sums], said[at + self._sums : at + self._sums + self._layer]))
                at += self._sums + self._layer
        assert at == len(said)
        return Said(statuses, np.array(answers), dumps)
