"""Names of a hostile bundle leave neither their string nor their comment, under any reading of C."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from multigraft.bundle.bundle import GOLDEN_INPUTS, GOLDEN_OUTPUTS, MODEL, MODEL_CARD, Bundle
from multigraft.cli.main import main
from multigraft.firmware_gen.boards.cores import M3
from multigraft.firmware_gen.generator import generate
from multigraft.firmware_gen.project.app_files import app_config, app_model_of
from multigraft.firmware_gen.project.emission import _comment
from multigraft.firmware_gen.project.project import Project
from tests.bundle_builder import build
from tests.firmware_gen.host import gcc

NAMES = (
    'a??/", evil(), "',
    "a??/",
    '";}int evil;/*',
    "x*/ int evil; /*",
    "x??/\n#define evil",
    "a\\",
    "a\\\n#error evil",
    "??=define evil ??(??)",
    "/*/ */*/",
    "% %n%s",
    "a b",
    "a_b",
    "ß\u202e\x1b[2J\0",
)
STRICT = ["-std=c11", "-trigraphs", "-Wall", "-Wextra", "-Werror", "-Wtrigraphs", "-Wcomment"]


@pytest.mark.parametrize("name", NAMES)
def test_comments_end_where_we_end_them(name: str, tmp_path: Path) -> None:
    (tmp_path / "comment.c").write_text(f"/* {_comment(name)} */\nint main(void) {{ return 0; }}\n")
    gcc(tmp_path, tmp_path / "program", *STRICT, "comment.c")
    assert "??" not in _comment(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_board_reports_the_name_it_was_given(name: str, tmp_path: Path) -> None:
    """What the compiler reads in the string is the name, with ? for what is not plain ASCII."""
    (tmp_path / "app_config.h").write_text(app_config(app_model_of(project_of(name), "00" * 32)))
    main = "int main(void) { fputs(APP_MODEL_NAME, stdout); return 0; }"
    (tmp_path / "say.c").write_text(f'#include <stdio.h>\n#include "app_config.h"\n{main}\n')
    program = gcc(tmp_path, tmp_path / "program", *STRICT, "say.c")
    said = subprocess.run([program], capture_output=True, check=True).stdout.decode()
    assert said == "".join(c if c.isascii() and c.isprintable() else "?" for c in name)


def test_a_bundle_of_hostile_names_compiles_to_what_a_plain_one_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tasks, tensors and the bundle itself; two tasks whose names become one macro have two."""
    path = tmp_path / "evil.graft"
    tasks = (*(f"{name}{number}" for number, name in enumerate(NAMES[:5])), "a b", "a_b", "count")
    bundle_of("".join(NAMES), tasks).write(path)
    assert main(["firmware", str(path), "--board", "mps2-an385", "-o", str(tmp_path / "fw")]) == 0
    folder = tmp_path / "fw"
    for source in ("src/model.c", "target/app_model.c"):
        gcc(folder, tmp_path / "object.o", *STRICT, "-c", "-Isrc", "-Itarget", source)
    header = (folder / "src" / "model.h").read_text("utf-8")
    for line in ("MODEL_TASK_A_B 0x20u", "MODEL_TASK_A_B_6 0x40u", "MODEL_TASK_COUNT_7 0x80u", "MODEL_TASK_COUNT 8"):
        assert f"#define {line}\n" in header
    said = capsys.readouterr().out
    assert "\n#define" not in said and "\\u000a#define" in said
    for made in folder.rglob("*"):
        if made.suffix in (".c", ".h", ".md", ".ld", "") and made.is_file():
            text = made.read_text("utf-8")
            assert "\x1b" not in text and "\u202e" not in text, made


def bundle_of(name: str, tasks: tuple[str, ...]) -> Bundle:
    built = build(tuple((f"task{number}", "classification") for number in range(len(tasks)))).bundle
    renamed = tuple(dataclasses.replace(t, name=n) for t, n in zip(built.manifest.tasks, tasks, strict=True))
    contents = {name: built.read(name) for name in (MODEL, MODEL_CARD, GOLDEN_INPUTS, GOLDEN_OUTPUTS)}
    return Bundle.create(dataclasses.replace(built.manifest, name=name, tasks=renamed), contents)


def project_of(name: str) -> Project:
    return generate(bundle_of(name, (name,)), core=M3)
