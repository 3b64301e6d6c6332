"""What the codec keeps of the answers, and in how many bytes: for every cut point and number of bits.

    python -m tests.benchmarks.offload_codec home.graft home.onnx --task digit --source frames.npz

The device's part runs in the bundle, the rest as the server computes it. Agreement is with the float network on the
same frames, by the largest output. With ``--speed`` also what one core codes in a second.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.cli.shared.table import print_table
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import session_of
from multigraft.converters.offload.tail import make_tail
from multigraft.devices.cameras.sources import open_source
from multigraft.runtime import Engine
from multigraft.runtime.offload.codec import BITS, Codec
from multigraft.runtime.offload.cuts import cuts_of
from multigraft.runtime.offload.wire import wire_tensors
from multigraft.runtime.self_test import read_golden
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import Frame, preparer_for
from multigraft.tensors.specs import TensorSpec


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("--task")
    parser.add_argument("--source", required=True)
    parser.add_argument("--labelled", type=Path, help="frames and labels (.npz): accuracy, too")
    parser.add_argument("--frames", type=int, default=500, help="at most (500)")
    parser.add_argument("--cut", help="this one alone")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    bundle, network = Bundle.open(options.bundle), MultiTaskModel.load(options.network)
    task = options.task or bundle.manifest.tasks[0].name
    if options.labelled:
        with np.load(options.labelled) as known:
            frames, labels = list(known["frames"][: options.frames]), known["labels"][: options.frames]
    else:
        with open_source(options.source) as camera:
            frames, labels = list(itertools.islice(camera, options.frames)), None
    expected = float_answers(bundle, network, task, frames)
    if labels is not None:
        print(f"float network: accuracy {np.mean(expected == labels):.4f}, n = {len(frames)}")
    rows = [
        row
        for cut in ([options.cut] if options.cut else cuts_of(bundle.manifest, task))
        for row in rows_of(bundle, network, task, cut, frames, expected, labels, options.speed)
    ]
    head = [
        "cut",
        "bits",
        "bytes a frame",
        "bits a value",
        "of float32",
        "agreement",
        "accuracy",
        "MB/s coded",
        "decoded",
    ]
    print_table(f"{bundle.manifest.name}: {task}, n = {len(frames)}", head, rows)
    return 0


def float_answers(bundle: Bundle, network: MultiTaskModel, task: str, frames: list[Frame]) -> Array:
    """Largest outputs of the float network."""
    (name,) = bundle.manifest.task(task).outputs[:1]
    source = bundle.manifest.inputs_of(task)[0]
    shape = bundle.manifest.tensor(source.tensor).shape
    real = np.zeros(shape, np.float32)
    preparer = preparer_for(source.preprocessing, TensorSpec("real", shape, "float32"))
    session = session_of(network.model, task)
    feeds = {
        i.name: np.zeros([d if isinstance(d, int) else 1 for d in i.shape], np.float32) for i in session.get_inputs()
    }
    answers = []
    for frame in frames:
        preparer.fill(frame, real)
        feeds[source.tensor] = np.ascontiguousarray(real.transpose(0, 3, 1, 2))
        answers.append(int(session.run([name], feeds)[0].argmax()))
    return np.array(answers)


def rows_of(
    bundle: Bundle,
    network: MultiTaskModel,
    task: str,
    cut: str,
    frames: list[Frame],
    expected: Array,
    labels: Array | None,
    is_timed: bool,
) -> list[tuple[str, ...]]:
    """A row for each number of bits."""
    manifest, engine = bundle.manifest, Engine(bundle)
    spec = manifest.tensor(cut)
    session = session_of(make_tail(bundle, network, task, cut).model, task)
    (name,) = manifest.task(task).outputs[:1]
    inputs, outputs = read_golden(bundle)
    codec = Codec.from_samples(spec, (inputs | outputs)[cut])
    source = manifest.inputs_of(task)[0]
    stored = []
    given = np.zeros(manifest.tensor(source.tensor).shape, manifest.tensor(source.tensor).dtype)
    preparer = preparer_for(source.preprocessing, manifest.tensor(source.tensor))
    for frame in frames:
        preparer.fill(frame, given)
        stored.append(given.copy() if cut == source.tensor else engine.compute({source.tensor: given}, [task])[cut])
    rows = []
    for bits in BITS:
        sizes, answers, coded_s, decoded_s = [], [], 0.0, 0.0
        for values in stored:
            begun = time.process_time()
            raw = codec.encode(values, bits)
            coded_s += time.process_time() - begun
            sizes.append(len(raw))
            begun = time.process_time()
            codec.decode(raw)
            decoded_s += time.process_time() - begun
            answers.append(int(session.run([name], wire_tensors(codec.packet(values, bits)))[0].argmax()))
        mean, count = float(np.mean(sizes)), values.size
        total = values.nbytes * len(stored) / 1e6
        accuracy = "" if labels is None else f"{np.mean(np.array(answers) == labels):.4f}"
        speed = [f"{total / coded_s:.0f}", f"{total / decoded_s:.0f}"] if is_timed else ["", ""]
        share, agreement = f"{mean / (4 * count):.1%}", f"{np.mean(np.array(answers) == expected):.4f}"
        sent = (f"{mean:,.0f}", f"{8 * mean / count:.2f}", share)
        rows.append((cut, str(bits), *sent, agreement, accuracy, *speed))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
