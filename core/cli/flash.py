"""``multigraft flash``: writes a project's image into its board, by the tool it needs or into its second slot."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.shared.board_options import add_timeout_argument, timeout_s
from multigraft.cli.shared.json_text import json_text
from multigraft.errors import DeviceError, UsageError
from multigraft.reading import read_file

if TYPE_CHECKING:
    from multigraft.firmware_gen.project.folder import ProjectFolder


MOST_IMAGE_BYTES = 64 << 20
"""No board has so much flash."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", type=Path, help="folder that multigraft firmware wrote and make built")
    parser.add_argument("--port", help="serial port of the board, for tools that need one")
    parser.add_argument("--image", type=Path, help="image to write instead of the project's own")
    parser.add_argument(
        "--factory",
        action="store_true",
        help="of a board with two slots: write boot loader and image by its tool",
    )
    add_timeout_argument(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the exact commands and run nothing")


def execute(options: argparse.Namespace) -> int:
    from multigraft.devices.flash.flasher import FlashJob
    from multigraft.devices.flash.flashers import flasher_for
    from multigraft.firmware_gen.project.folder import ProjectFolder

    folder = ProjectFolder.open(options.project)
    board, flashing = folder.board, folder.board.flashing
    if board.slots is not None and options.port is not None and not (options.dry_run or options.factory):
        return _update(folder, options)
    if flashing is None:
        raise UsageError(f"{board.name} is emulated only", "use multigraft firmware verify --qemu")
    if options.factory and board.slots is None:
        raise UsageError(f"{board.name} has no slots", "leave out --factory")
    if board.slots is not None and not options.factory:
        raise UsageError(
            f"updates of {board.name} go over its serial port and run no command",
            "give --port alone, or --factory to write boot loader and first image",
        )
    flasher = flasher_for(flashing.method)
    if options.factory and options.image is not None:
        raise UsageError("--factory writes the images of the project", "leave out --image")
    if options.image is None and board.uart is None:
        raise UsageError(
            f"for {board.name} the project is a library, not an image",
            f"build your application with {board.framework} and name it with --image",
        )
    image = folder.factory_image() if options.factory else options.image or folder.image(flasher.suffix)
    if not options.factory and image.suffix != flasher.suffix:
        raise UsageError(f"{flasher.name} takes {flasher.suffix} files, not {image.name}", "name the right file")
    job = FlashJob(image, flashing.target, options.port, flashing.chip_id, flashing.base, flashing.chip_register)
    commands = flasher.commands(job)
    if options.dry_run:
        print(json_text(commands) if options.json else "\n".join(map(shlex.join, commands)))
        return 0
    flasher.flash(job, _progress)
    if options.json:
        print(json_text({"board": board.name, "image": str(image), "verified": True}))
    else:
        print(f"{board.name}: {image} written and verified")
    return 0


def _update(folder: ProjectFolder, options: argparse.Namespace) -> int:
    """Into the slot that does not run, over the serial port; the device checks the image before it counts."""
    from multigraft.devices.target.board_updater import BoardUpdater
    from multigraft.devices.target.image_info import ImageInfo
    from multigraft.devices.target.serial_link import SerialLink
    from multigraft.devices.target.target import Target

    image = options.image or folder.image(".bin")
    contents = folder.slot_images() if options.image is None else [read_file(image, MOST_IMAGE_BYTES)]
    with SerialLink(options.port) as link:
        target = Target(link, timeout_s=timeout_s(options))
        if target.info.board != folder.board.name:
            raise DeviceError(
                f"the device at {target.name} is a {target.info.board}, not a {folder.board.name}",
                "choose the right port or project",
            )
        for content in contents:
            ImageInfo.of(content, str(image))
        updater = BoardUpdater(target)
        runs = updater.runs(contents)
        if runs:
            slot = updater.slots().running
        else:
            slot = updater.update(contents, lambda done, total: _progress(done / total, "writing"))
            target.reset()
    if options.json:
        said = {"board": folder.board.name, "image": str(image), "slot": slot, "verified": True, "written": not runs}
        print(json_text(said))
    elif runs:
        print(f"{folder.board.name}: {image} runs already in slot {slot}, nothing written")
    else:
        print(f"{folder.board.name}: {image} written to slot {slot}, verified and started")
    return 0


def _progress(done: float, doing: str) -> None:
    if sys.stderr.isatty():
        width = 30
        bar = "#" * round(done * width)
        end = "\n" if done >= 1.0 else ""
        print(f"\r[{bar:<{width}}] {done:4.0%} {doing:<24}", end=end, file=sys.stderr, flush=True)
