"""The front end in C: compiled for this machine and compared with Python, bit for bit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from multigraft.errors import InputError
from multigraft.firmware_gen.sounds.sound_files import SoundInput, sound_files, sound_ram_bytes
from multigraft.sounds.front_end import NAMED, FrontEnd
from multigraft.sounds.log_mel import log_mel
from tests.firmware_gen.host import SANITIZERS, WARNINGS, gcc

KEYWORD = NAMED["keyword"]
FRONT_ENDS = (
    KEYWORD,
    FrontEnd(16_000, 480, 320, 512, 40, 20.0, 4000.0, 1e-12),
    FrontEnd(8_000, 200, 80, 256, 20, 0.0, 4000.0, 1.0),
    FrontEnd(44_100, 4096, 1024, 4096, 128, 40.0, 22_050.0, 1e-9),
    FrontEnd(16_000, 9, 30, 16, 3, 0.0, 8000.0),
    FrontEnd(11_025, 255, 255, 256, 11, 300.0, 3300.0),
)
MAIN = r"""
#include <stdio.h>
#include "model.h"
#include "sound.h"
static int8_t data[MODEL_INPUT_BYTES];
const model_tensor model_inputs[MODEL_INPUT_COUNT] = {MODEL_INPUTS};
int main(void)
{
    int32_t count;
    static int16_t samples[65536];
    while (fread(&count, sizeof count, 1, stdin) == 1) {
        if (count < 0)
            sound_reset();
        else if (fread(samples, sizeof *samples, (size_t)count, stdin) != (size_t)count)
            return 2;
        const int32_t rows = count < 0 ? -1 : sound_hear(samples, count);
        fwrite(&rows, sizeof rows, 1, stdout);
        sound_fill();
        fwrite(data, 1, sizeof data, stdout);
    }
    return 0;
}
"""
MODEL = """
#include <stdint.h>
typedef struct {{ const char *name; int8_t *data; uint32_t bytes; float scale; int32_t zero_point; }} model_tensor;
#define MODEL_INPUT_COUNT {count}
#define MODEL_INPUT_BYTES {total}
#define MODEL_INPUTS {inputs}
extern const model_tensor model_inputs[MODEL_INPUT_COUNT];
"""


def rounded(mean: float, step: float) -> npt.NDArray[np.int8]:
    """A table such as a bundle's scale and zero point make."""
    features = np.arange(-32768, 32768) / 1024
    stored: npt.NDArray[np.int8] = np.clip(np.rint((features - mean) / step), -128, 127).astype(np.int8)
    return stored


class Host:
    """The generated front end as a program of this machine."""

    def __init__(self, inputs: list[SoundInput], folder: Path, *flags: str) -> None:
        sizes = [i.rows * i.front_end.bands for i in inputs]
        at = [sum(sizes[:k]) for k in range(len(sizes))]
        entries = ", ".join(f'{{"x", data + {a}, {n}, 1.0f, 0}}' for a, n in zip(at, sizes, strict=True))
        model = MODEL.format(count=len(inputs), total=sum(sizes), inputs=entries)
        common = Path("firmware_gen/kernels/c/common.h").read_text("utf-8")
        files = {**sound_files(inputs), "model.h": model, "main.c": MAIN, "mg_common.h": common}
        for name, text in files.items():
            (folder / name).write_text(text)
        self.size = sum(sizes)
        self.program = gcc(folder, folder / "program", *WARNINGS, *SANITIZERS, *flags, "sound.c", "main.c")

    def hear(self, pieces: list[npt.NDArray[np.int16] | None]) -> tuple[list[int], npt.NDArray[np.int8]]:
        """Rows completed and the model's inputs after each piece; None forgets all."""
        sent = b"".join(
            np.int32(-1).tobytes() if p is None else np.int32(len(p)).tobytes() + p.tobytes() for p in pieces
        )
        done = subprocess.run([str(self.program)], input=sent, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[:4000]
        replies = np.frombuffer(done.stdout, np.int8).reshape(len(pieces), 4 + self.size)
        return replies[:, :4].copy().view(np.int32)[:, 0].tolist(), replies[:, 4:]


def sounds(front_end: FrontEnd, seconds: float = 0.5) -> list[npt.NDArray[np.int16]]:
    """Loud, quiet, extreme and silent ones."""
    random = np.random.default_rng(5)
    count = max(int(seconds * front_end.rate_hz), 2 * front_end.window)
    time = np.arange(count) / front_end.rate_hz
    kinds = (
        random.normal(0, 5000, count),
        random.normal(0, 0.6, count),
        random.choice([-32768, 32767], count),
        np.full(count, -32768),
        32767 * np.sign(np.sin(2 * np.pi * 333 * time)),
        12000 * np.sin(2 * np.pi * (200 + 900 * time) * time) * (time > 0.2),
        np.zeros(count),
    )
    return [np.clip(np.rint(kind), -32768, 32767).astype(np.int16) for kind in kinds]


@pytest.mark.parametrize("flag", ["-DPLAIN", "-DMG_MULTIPLY_32"])
@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda f: f"{f.rate_hz}-{f.window}-{f.bands}-{f.floor:g}")
def test_every_row_equals_that_of_python(front_end: FrontEnd, flag: str, tmp_path: Path) -> None:
    """By products of 64 bits, and by those that cores without them make of halves."""
    # One row per input, stored once by its low and once by its high bits, so that all 16 of a feature are compared.
    features = np.arange(-32768, 32768)
    coarse = (features >> 8).astype(np.int8)
    parts = [SoundInput(0, front_end, 1, False, coarse)]
    for level in (-14, -6, 0, 6):
        parts.append(SoundInput(len(parts), front_end, 1, False, rounded(level, 1 / 1024)))
    host = Host(parts, tmp_path, flag)
    for sound in sounds(front_end):
        wanted = log_mel(sound, front_end)
        sound = sound[: front_end.samples(len(wanted))]
        pieces = [None, *np.split(sound, range(front_end.window, len(sound), front_end.step))]
        rows, inputs = host.hear(pieces)
        assert rows == [-1] + [1] * len(wanted)
        indices = wanted.astype(np.int64) + 32768
        expected = np.concatenate([part.stored[indices] for part in parts], axis=1)
        np.testing.assert_array_equal(inputs[1:], expected)


def test_the_last_rows_are_given_in_order_whatever_the_pieces(tmp_path: Path) -> None:
    other = FrontEnd(16_000, 400, 160, 512, 16, 60.0, 7000.0)
    inputs = [
        SoundInput(0, KEYWORD, 7, False, rounded(-3, 0.1)),
        SoundInput(1, other, 11, True, rounded(-2, -0.07)),
    ]
    sound = sounds(KEYWORD)[5]
    random = np.random.default_rng(1)
    cuts = np.sort(random.integers(0, len(sound), 40))
    rows, given = Host(inputs, tmp_path).hear([*np.split(sound, cuts), None, sound[:9]])
    heard, total = np.concatenate([sound[:0], sound]), 0
    for k, (end, got) in enumerate(zip([*cuts, len(sound)], given, strict=False)):
        parts = []
        for one in inputs:
            silence = np.full((one.rows, one.front_end.bands), log_mel(np.zeros(480, np.int16), one.front_end)[0, 0])
            last = np.concatenate([silence, log_mel(heard[:end], one.front_end)])[-one.rows :]
            stored = one.stored[last.astype(np.int64) + 32768]
            parts.append((stored.T if one.bands_first else stored).reshape(-1))
        np.testing.assert_array_equal(got, np.concatenate(parts), err_msg=f"piece {k}")
        total += rows[k]
    assert total == KEYWORD.rows(len(sound))
    # Forgotten: silence again, and a few samples make no row.
    assert rows[-2:] == [-1, 0]
    np.testing.assert_array_equal(given[-1], given[-2])
    assert len(set(given[-1][: 7 * 40])) == 1


def test_one_rate_for_all() -> None:
    slow = FrontEnd(8_000, 200, 80, 256, 20, 0.0, 4000.0)
    inputs = [SoundInput(0, KEYWORD, 3, False, rounded(0, 1)), SoundInput(1, slow, 3, False, rounded(0, 1))]
    with pytest.raises(InputError, match="hears at 8000 Hz and at 16000 Hz"):
        sound_files(inputs)
    assert sound_files([]) == {}


def test_the_ram_that_is_reported_is_what_the_compiler_takes(tmp_path: Path) -> None:
    inputs = [
        SoundInput(0, KEYWORD, 49, False, rounded(-7, 0.1)),
        SoundInput(1, FrontEnd(16_000, 400, 160, 512, 16, 60.0, 7000.0), 98, True, rounded(-7, 0.1)),
    ]
    host = Host(inputs, tmp_path)
    gcc(host.program.parent, tmp_path / "sound.o", "-O1", "-c", "sound.c")
    sized = subprocess.run(["size", "-A", str(tmp_path / "sound.o")], check=True, capture_output=True, text=True)
    taken = sum(int(line.split()[1]) for line in sized.stdout.splitlines() if line.startswith((".bss", ".data ")))
    assert 0 <= taken - sound_ram_bytes(inputs) <= 160
