"""``multigraft convert``: from a grafted ONNX model to a bundle."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.settings_options import MIXED, add_weights, asked_agreement, check_output, of_precision
from multigraft.cli.shared.table import print_table
from multigraft.errors import InputError, UsageError
from multigraft.reading import read_json

if TYPE_CHECKING:
    from multigraft.converters.job.progress import Report
    from multigraft.converters.network.frames import Frames
    from multigraft.converters.network.multitask import MultiTaskModel
    from multigraft.converters.packing.finishing import Conversion
    from multigraft.converters.quantising.ranges import Range
    from multigraft.tensors.preparation import Preparation

MAX_FRAMES = 512
MIN_AGREEMENT = 0.95
"""That --weights auto keeps unless told otherwise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from multigraft.converters.quantising.precisions import PRECISIONS
    from multigraft.devices.cameras.source_help import HELP

    parser.add_argument(
        "model", help="the .onnx file that multigraft graft wrote, or one network: a .onnx or .tflite file"
    )
    parser.add_argument("-o", "--output", required=True, metavar="NAME.graft", help="the bundle to write")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="[INPUT=]FRAMES",
        help=f"unlabeled frames that set the ranges of activations: {HELP}; for one input if it is named, else for all",
    )
    parser.add_argument(
        "--precision",
        choices=(*PRECISIONS, MIXED),
        default="int8",
        help="; ".join(f"{name}: {what}" for name, what in PRECISIONS.items())
        + "; mixed: int8 with --weights auto (default: int8)",
    )
    add_weights(parser)
    parser.add_argument(
        "--keep-float",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave layers in float32: a regular expression on names of ONNX nodes or tensors, or an operator kind",
    )
    parser.add_argument(
        "--ranges",
        metavar="FILE",
        help="ranges of activations in place of measuring: statistics from a device (.mgstats), or JSON as "
        '{"TENSOR": [smallest, largest], ...}; tensors that are not in it are measured on the frames',
    )
    parser.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="TENSOR",
        help="end a segment at this tensor of the network, so that a server can answer from there on; may be repeated",
    )
    parser.add_argument("--name", help="name of the bundle (default: that of the file)")
    parser.add_argument(
        "--frames", type=int, default=MAX_FRAMES, metavar="N", help=f"read at most N frames (default: {MAX_FRAMES})"
    )
    parser.add_argument("--uncut", metavar="FILE.tflite", help="also write the quantised model in one piece")
    parser.add_argument("--float", dest="floating", metavar="FILE.tflite", help="also write the float32 model")
    parser.add_argument("--work", metavar="FOLDER", help="keep intermediate files and logs in this folder")


def execute(options: argparse.Namespace) -> int:
    """Convert, write the bundle, print what was verified."""
    from multigraft.converters.importing.tflite.standing import is_quantised
    from multigraft.converters.job.progress import terminal_report
    from multigraft.converters.network.multitask import MultiTaskModel, is_multitask
    from multigraft.converters.network.splitting import split_at

    for path in filter(None, (options.output, options.uncut, options.floating)):
        check_output(Path(path))
    path = Path(options.model)
    is_tflite = path.suffix.lower() == ".tflite"
    if is_tflite and is_quantised(path):
        if options.split:
            raise UsageError(f"--split cuts float networks, and {path} is quantised", "leave --split out")
        return _written(_standing(path, options), options)
    with terminal_report() as report:
        is_alone = is_tflite or not is_multitask(path)
        multitask = _alone(path, report) if is_alone else MultiTaskModel.load(path)
    for tensor in options.split:
        multitask = split_at(multitask, tensor)
    return _written(_converted(multitask, options), options)


def _standing(path: Path, options: argparse.Namespace) -> Conversion:
    """A quantised network as it is."""
    from multigraft.converters.importing.tflite.standing import load_standing
    from multigraft.converters.standing import standing_conversion

    if options.floating:
        raise UsageError(
            f"--float asks for a float32 model, and {path} computes with integers or bits", "leave --float out"
        )
    network = load_standing(path, _task_name(path), None, "other")
    (tensor,) = network.graph.inputs
    frames = read_frames(options.source, {tensor: network.preprocessing}, options.frames)
    name = options.name or Path(options.output).stem
    return standing_conversion(network, name, frames.get(tensor, ()), not options.no_fallback)


def _alone(path: Path, report: Report) -> MultiTaskModel:
    """A float network on its own: pixels of 0..1 become outputs of any meaning."""
    from multigraft.converters.importing.importer import load_network
    from multigraft.converters.standing import alone

    return alone(load_network(path, name=_task_name(path), kind="other", report=report))


def _task_name(path: Path) -> str:
    """The file's stem as the name of a task."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", path.stem)[:48]
    return plain if plain[:1].isalpha() else f"task_{plain}"[:48]


def _converted(multitask: MultiTaskModel, options: argparse.Namespace) -> Conversion:
    from multigraft.converters.job.progress import terminal_report
    from multigraft.converters.packing.convert import convert
    from multigraft.converters.packing.fallback import with_fallback
    from multigraft.converters.packing.lowering import Asked, check_precision, lowered

    precision, weights = of_precision(options.precision, options.weights)
    check_precision(weights or "8bit", precision)
    minimum = asked_agreement(options, MIN_AGREEMENT)
    frames = read_frames(options.source, multitask.inputs, options.frames)
    ranges = read_ranges(options.ranges) if options.ranges else None
    with terminal_report() as report, _work_folder(options.work) as folder:
        conversion = convert(
            multitask,
            frames,
            precision=precision,
            keep_float=options.keep_float,
            ranges=ranges,
            name=options.name or Path(options.output).stem,
            work_dir=folder,
            report=report,
        )
        least = dict.fromkeys((task.name for task in multitask.tasks), minimum)
        conversion = lowered(conversion, Asked(weights or "8bit", least), report)
        return with_fallback(conversion, not options.no_fallback, report)


def _written(conversion: Conversion, options: argparse.Namespace) -> int:
    """Write the bundle and what was asked for beside it, and print what was verified."""
    from multigraft import files

    for path, content in ((options.uncut, conversion.uncut_model), (options.floating, conversion.float_model)):
        if path:
            files.write_bytes(path, content)
    conversion.whole_bundle.write(options.output)
    if options.json:
        print(json_text(summary(conversion, options.output), indent=1))
    else:
        _print(conversion, options.output)
    return 0


def read_frames(sources: Sequence[str], inputs: Mapping[str, Preparation], limit: int) -> dict[str, Frames]:
    """Frames by input; a source without ``INPUT=`` serves every input that has none of its own.

    Raises:
        InputError: A source is not there, holds no frame, or cannot serve the inputs it is for.
        UsageError: Two sources for one input, or fewer than 1 frame is asked for.
    """
    import itertools

    from multigraft.devices.cameras.sources import open_source
    from multigraft.tensors.preparation import shared_row_shape

    if limit < 1:
        raise UsageError(f"--frames is {limit}", "give at least 1")
    by_input: dict[str, Frames] = {}
    shared: Frames | None = None
    names = [next((n for n in inputs if text.startswith(f"{n}=")), None) for text in sources]
    for text, name in zip(sources, names, strict=True):
        served = [p for n, p in inputs.items() if n == name or (name is None and n not in names)]
        rows = shared_row_shape(served or list(inputs.values()))
        with open_source(text if name is None else text[len(name) + 1 :], rows) as camera:
            frames = list(itertools.islice(camera, limit))
        if not frames:
            raise InputError(f"{text} holds no frame", "give at least one frame")
        if (name in by_input) if name else shared is not None:
            raise UsageError(f"two sources for {name or 'all inputs'}", "give one, or name the inputs: INPUT=FRAMES")
        if name:
            by_input[name] = frames
        else:
            shared = frames
    return by_input if shared is None else dict.fromkeys(inputs, shared) | by_input


def read_ranges(path: str) -> dict[str, Range]:
    """Ranges by tensor from a Statistics or a JSON file.

    Raises:
        InputError: It is not there or not such a file.
    """
    if path.endswith(".mgstats"):
        from multigraft.converters.field.statistics_input import StatisticsInput

        return StatisticsInput.open(path).statistics.ranges()
    try:
        return {str(name): (float(low), float(high)) for name, (low, high) in read_json(path).items()}
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise InputError(f"{path} holds no ranges", 'write {"TENSOR": [smallest, largest], ...}') from None


@contextlib.contextmanager
def _work_folder(asked: str | None) -> Iterator[Path]:
    """The folder that was asked for, or one that goes away."""
    if asked:
        Path(asked).mkdir(parents=True, exist_ok=True)
        yield Path(asked)
    else:
        from multigraft.converters.conversion.work_folder import work_folder

        with work_folder() as folder:
            yield folder


def summary(conversion: Conversion, path: str) -> dict[str, Any]:
    """What ``--json`` prints."""
    manifest = conversion.bundle.manifest
    return {
        "bundle": path,
        "model_bytes": len(conversion.bundle.model),
        "uncut_bytes": len(conversion.uncut_model),
        "fallback_bytes": None if conversion.fallback is None else len(conversion.fallback.model),
        "segments": [
            {"name": s.name, "precision": s.precision, "weights_bytes": s.weights_bytes, "macs": s.macs}
            for s in manifest.segments
        ],
        "agreement": {task: shown.to_json() for task, shown in conversion.agreement.items()},
        "verification": conversion.verification.to_json(),
        "layer_error": conversion.layer_error.to_json(),
    }


def _print(conversion: Conversion, path: str) -> None:
    manifest, checked, worst = conversion.bundle.manifest, conversion.verification, conversion.layer_error.worst
    print_table(
        f"{path}: {len(conversion.bundle.model):,} bytes of model",
        ("segment", "precision", "weights (bytes)", "MACs"),
        [(s.name, s.precision, f"{s.weights_bytes:,}", f"{s.macs:,}") for s in manifest.segments],
    )
    if conversion.agreement:
        print_table(
            "Agreement with the float model",
            ("task", "agreement", "lower bound", "frames"),
            [(t, f"{a.value:.4f}", f"{a.lower_bound:.4f}", str(a.frames)) for t, a in conversion.agreement.items()],
        )
    backends = ", ".join(f"{name} {version}" for name, version in checked.backends.items())
    print(f"Segments equal the uncut model bit for bit on {checked.inputs} inputs ({backends}).")
    for name, why in checked.refused.items():
        print(f"{name} does not run this model: {why}.")
    if checked.float_error:
        worst_error = max(checked.float_error.values())
        print(f"The float model differs from ONNX by at most {worst_error:.1e} of an output's range.")
    for sentence in conversion.sentences():
        print(sentence)
    if worst:
        print(f"Worst layer: {worst.tensor} ({worst.operator}), {worst.own_sqnr_db:.1f} dB SQNR on its own.")
