"""What becomes of the answers of ``multigraft run``: lines, a COCO file, a table, pictures."""

from __future__ import annotations

import contextlib
import csv
import functools
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from multigraft.cli.shared.json_text import json_text
from multigraft.errors import DeviceError, InputError, UsageError

if TYPE_CHECKING:
    from multigraft.cli.shared.coco_ids import CocoIds
    from multigraft.runtime.answers import Answer

FORMATS = ("jsonl", "coco", "csv")
MOST_PICTURES = 1000
"""Without ``--frames``: a camera that nobody watches does not fill the disk."""

Write = Callable[[dict[str, Any], Mapping[str, Any], "Mapping[str, Answer]", dict[str, Any]], None]
"""Takes what names the frame (``frame``, ``file``), task to frame, its answers, and the plain result."""
_Begin = Callable[[TextIO], "tuple[Write, Callable[[], None]]"]


@contextlib.contextmanager
def answer_writer(format_name: str, target: Path | None, ids: CocoIds) -> Iterator[Write]:
    """What writes a frame's answers in that format, to a file that appears whole at the end, or to standard output.

    An interrupt or an error of a camera ends the file with the frames that were answered.
    """
    from multigraft.files import whole_file

    with contextlib.ExitStack() as stack:
        out: TextIO = sys.stdout
        if target is not None:
            out = stack.enter_context(stack.enter_context(whole_file(target)).open("w", encoding="utf-8", newline=""))
        elif format_name == "coco":
            # Standard output gets the list whole, however long it was in the making.
            out = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
        begin: dict[str, _Begin] = {"jsonl": _lines, "coco": functools.partial(_coco, ids), "csv": _table}
        write_frame, finish = begin[format_name](out)
        stopped: BaseException | None = None
        is_begun = False

        def write(
            named: dict[str, Any], frames: Mapping[str, Any], answers: Mapping[str, Answer], plain: dict[str, Any]
        ) -> None:
            nonlocal is_begun
            write_frame(named, frames, answers, plain)
            is_begun = True

        try:
            yield write
        except (KeyboardInterrupt, GeneratorExit) as error:
            # An interrupt between the end of a with statement and its __exit__ leaves it to the garbage collector.
            stopped = error
        except (DeviceError, InputError) as error:
            if not is_begun:
                raise
            stopped = error
        finish()
        out.flush()
        if target is None and out is not sys.stdout:
            out.seek(0)
            shutil.copyfileobj(out, sys.stdout)
    if stopped is not None:
        raise stopped


def _lines(out: TextIO) -> tuple[Write, Callable[[], None]]:
    def write(
        named: dict[str, Any], frames: Mapping[str, Any], answers: Mapping[str, Answer], plain: dict[str, Any]
    ) -> None:
        print(json_text({**named, **plain}), file=out, flush=True)

    return write, lambda: None


def _table(out: TextIO) -> tuple[Write, Callable[[], None]]:
    from multigraft.runtime.formats.table_rows import COLUMNS, table_rows

    rows = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    rows.writeheader()

    def write(
        named: dict[str, Any], frames: Mapping[str, Any], answers: Mapping[str, Answer], plain: dict[str, Any]
    ) -> None:
        rows.writerows({**named, **row} for row in table_rows(answers))
        out.flush()

    return write, lambda: None


def _coco(ids: CocoIds, out: TextIO) -> tuple[Write, Callable[[], None]]:
    from multigraft.answers.detections import Detections
    from multigraft.runtime.drawing.draw import is_picture
    from multigraft.runtime.formats.coco import coco_records

    before = "["

    def write(
        named: dict[str, Any], frames: Mapping[str, Any], answers: Mapping[str, Answer], plain: dict[str, Any]
    ) -> None:
        nonlocal before
        if not any(isinstance(a, Detections) for a in answers.values()):
            raise UsageError("no task that is answered gives boxes", "use --format jsonl or csv")
        image = ids.image(named)
        for task, answer in answers.items():
            if isinstance(answer, Detections):
                ids.check(task)
            if is_picture(frames[task]):
                height, width = frames[task].shape[:2]
                for record in coco_records(image, {task: answer}, height, width, ids.category):
                    out.write(f"{before}\n{json_text(record)}")
                    before = ","

    def finish() -> None:
        out.write("[]\n" if before == "[" else "\n]\n")

    return write, finish


class Pictures:
    """Draws answers into a folder.

    Args:
        folder: Is made if it is not there.
        force: Write over files in it.
        sources: Files that frames come from, which are never written over.
        is_bounded: Whether somebody said how many frames there are.

    Raises:
        MissingDependencyError: Pillow is not installed.
        UsageError: The folder holds files, is a file, or cannot be made.
    """

    def __init__(self, folder: Path, force: bool, sources: tuple[Path, ...], is_bounded: bool) -> None:
        from multigraft.runtime.drawing.pillow import pillow

        pillow()
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file", "name a folder")
        if any(source.parent.resolve() == folder.resolve() for source in sources):
            raise UsageError(f"{folder} is where the frames come from", "name another folder for what is drawn")
        theirs = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
        if theirs and not force:
            raise UsageError(f"{folder} holds {theirs[0]}", "name a new folder, or write over it with --force")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder} cannot be made: {error.strerror}", "choose another folder") from error
        stems = [source.stem for source in sources]
        self._names = {s.name: s.stem if stems.count(s.stem) == 1 else s.name for s in sources[:100_000]}
        self._folder, self._left = folder, None if is_bounded else MOST_PICTURES

    def write(self, named: dict[str, Any], frames: Mapping[str, Any], answers: Mapping[str, Answer]) -> None:
        """Draw one frame, or one per source of frames.

        Raises:
            UsageError: The frames are no pictures.
        """
        from multigraft.files import whole_file
        from multigraft.runtime.drawing.draw import draw, is_picture

        if self._left is not None:
            self._left -= 1
            if self._left == -1:
                said = f"{MOST_PICTURES} pictures are drawn, and no more; give --frames for more"
                print(f"multigraft: {said}.", file=sys.stderr)
            if self._left < 0:
                return
        shown: dict[int, list[str]] = {}
        for task in answers:
            if is_picture(frames[task]):
                shown.setdefault(id(frames[task]), []).append(task)
        if answers and not shown:
            raise UsageError("the frames are no pictures to draw on", "leave --draw out")
        name = self._names.get(named.get("file", ""), f"frame-{named['frame']:06d}")
        for tasks in shown.values():
            suffix = f"-{tasks[0]}" if len(shown) > 1 else ""
            picture = draw(frames[tasks[0]], {task: answers[task] for task in tasks})
            with whole_file(self._folder / f"{name}{suffix}.png") as temporary:
                picture.save(temporary, format="PNG")
