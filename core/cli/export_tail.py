"""``multigraft export-tail``: what a server loads to answer a task from a cut point on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.settings_options import check_folder

if TYPE_CHECKING:
    from multigraft.converters.network.multitask import MultiTaskModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("bundle", help="the .graft file that runs on the device")
    parser.add_argument(
        "network",
        type=Path,
        help="the float network it was built of: what multigraft graft wrote, or one network as .onnx",
    )
    parser.add_argument("--task", metavar="NAME", help="which task (default: the only one)")
    parser.add_argument(
        "--cut",
        metavar="TENSOR",
        help="the bundle's tensor that travels (default: what the build chose, or the last that can)",
    )
    parser.add_argument(
        "--server", choices=("triton",), default="triton", help="whose layout: Triton's, which KServe loads, too"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="the model repository")


def execute(options: argparse.Namespace) -> int:
    """Cut the network, compare it with the bundle, write the repository."""
    from multigraft.bundle.bundle import Bundle
    from multigraft.converters.offload.repository import write_repository
    from multigraft.converters.offload.tail import make_tail
    from multigraft.errors import UsageError
    from multigraft.runtime.offload.cuts import cuts_of

    bundle = Bundle.open(options.bundle)
    check_folder(options.output)
    names = [task.name for task in bundle.manifest.tasks]
    if options.task is None and len(names) > 1:
        raise UsageError(f"the bundle has tasks {', '.join(names)}", "name one by --task")
    task = options.task or names[0]
    cuts_of(bundle.manifest, task)
    tail = make_tail(bundle, _network(options.network, task), task, options.cut)
    model, decoder = write_repository(options.output, bundle.manifest, tail)
    if options.json:
        print(
            json_text(
                {"model": str(model), "decoder": str(decoder), "task": task, "cut": tail.cut, "alike": tail.alike}
            )
        )
    else:
        least = min(tail.alike.values())
        print(f"{model}: {task} from {tail.cut} on; concordance with the bundle's golden values {least:.4f}")
    return 0


def _network(path: Path, task: str) -> MultiTaskModel:
    from multigraft.converters.importing.importer import load_network
    from multigraft.converters.job.progress import terminal_report
    from multigraft.converters.network.multitask import MultiTaskModel, is_multitask
    from multigraft.converters.standing import alone

    if is_multitask(path):
        return MultiTaskModel.load(path)
    with terminal_report() as report:
        return alone(load_network(path, name=task, kind="other", report=report))
