"""A board with a camera of its own: what ``multigraft monitor`` prints of a cascade that looks at its pictures."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from multigraft.bundle.bundle import Bundle
from multigraft.cli.main import main
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.project.folder import build_folder
from tests.converters.cascade_scene import SIDE
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.cascades.people import built, frames

CAMERA = """
#include "app.h"

static const uint8_t nobody[] = {%s};
static const uint8_t two[] = {%s};

int mg_camera_frame(mg_picture *picture) {
    static int taken;
    picture->pixels = taken++ == 0 ? nobody : two;
    picture->height = picture->width = %d;
    picture->channels = 3;
    return 0;
}
"""


@needs_tools
def test_the_monitor_says_where_people_are_and_how_many_faces_were_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board, folder = BOARDS["mps2-an385"], tmp_path / "fw"
    bundle, path = Bundle.open(built(tmp_path)), tmp_path / "in_time.graft"
    # With a deadline that nobody misses: the board's clock is asked before each box.
    bundle.with_tasks(
        dataclasses.replace(t, on=dataclasses.replace(t.on, deadline_us=5e8)) if t.on else t
        for t in bundle.manifest.tasks
    ).write(path)
    assert main(["firmware", str(path), "--board", board.name, "-o", str(folder)]) == 0
    nobody, _, two, *_ = frames()
    pixels = (", ".join(map(str, frame.reshape(-1).tolist())) for frame in (nobody, two))
    (folder / "src/camera.c").write_text(CAMERA % (*pixels, SIDE))
    build_folder(folder)
    with EmulatedBoard(board, folder / "build/frames/firmware.elf") as emulated:
        emulated.resume()
        capsys.readouterr()
        command = ["monitor", "--port", emulated.port, "--count", "2", "--timeout", "200"]
        assert main(command) == 0
    first, second = [line for line in capsys.readouterr().out.splitlines() if " cycles" in line]
    assert "person/count: 0  person/boxes: none  person/crops: 0  face/count: 0  face/boxes: none" in first
    assert "mood/answers: none  age/answers: none" in first
    people = re.findall(r"person/boxes: \[(\d+) (\d+) \d+ \d+\] 0 \([\d.]+\), \[(\d+) (\d+) \d+ \d+\]", second)
    assert len(people) == 1
    edges = sorted((int(people[0][k]), int(people[0][k + 1])) for k in (0, 2))
    assert all(abs(a - b) <= 3 for found, there in zip(edges, [(4, 8), (36, 30)], strict=True)
               for a, b in zip(found, there, strict=True))  # fmt: skip
    assert "person/crops: 2  face/count: 2" in second and "face/crops: 2" in second
    assert len(re.findall(r"mood/answers: \d \([-\d.]+\), \d \([-\d.]+\)  age", second)) == 1
