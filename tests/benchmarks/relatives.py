"""Does similarity predict what raw sharing keeps among relatives, as arXiv 2410.11233 reports (|r| > 0.94)?

Fine-tunes the demo's garment network for three coarser tasks at rising rates (PyTorch, one epoch each, some minutes),
and studies all four networks. Reads Fashion-MNIST from Debian's package ``dataset-fashion-mnist``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.cli.main import main as multigraft
from multigraft.converters import demo

FASHION = Path("/usr/share/datasets/fashion-mnist")
TASKS = {
    "worn": (0.003, (0, 1, 0, 2, 0, 3, 0, 3, 4, 3)),
    "warm": (0.01, (0, 0, 1, 0, 1, 0, 0, 0, 0, 1)),
    "formal": (0.03, (0, 1, 0, 1, 1, 1, 1, 0, 0, 0)),
}
"""Task to learning rate and the class of each garment; the higher the rate, the further the relative."""

DEMO = Path(demo.__file__).parent
TASK = """
[[task]]
name = "{name}"
model = "{name}.onnx"
kind = "classification"
labelled = "labelled.npz"
preprocessing = {{ size = [28, 28], color = "grey", mean = 72.93, scale = 0.011109259568 }}
"""


def show(folder: Path) -> None:
    """Fine-tune, then print the study's table."""
    if not FASHION.is_dir():
        print(f"Relatives: left out, since {FASHION} does not exist; run: sudo apt-get install dataset-fashion-mnist.")
        return
    labels = _fine_tune(folder)
    with np.load(DEMO / "garments_labelled.npz") as labelled:
        frames = labelled["frames"]
    np.savez(folder / "labelled.npz", frames=frames, **{k: v[: len(frames)] for k, v in labels.items()})
    with np.load(DEMO / "garments.npz") as unlabelled:
        np.savez(folder / "frames.npz", frames=unlabelled["frames"])
    (folder / "garment.onnx").write_bytes((DEMO / "networks" / "garment.onnx").read_bytes())
    text = 'frames = "frames.npz"\n[budget]\nmin_agreement = 0.9\n[graft]\nfit_frames = 64\n'
    (folder / "multigraft.toml").write_text(text + "".join(TASK.format(name=n) for n in ("garment", *TASKS)), "utf-8")
    multigraft(["study", str(folder / "multigraft.toml"), "-o", str(folder / "study")])


def _fine_tune(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Write one ONNX file per task; returns the labels of the test images by task."""
    import torch
    from torch import nn

    from multigraft.converters.demo import train

    class Folded(nn.Module):
        """The demo's network as it is exported: batch norm folded into the convolutions."""

        def __init__(self, classes: int) -> None:
            super().__init__()
            self.net = train.ResNet4(classes)
            graph = onnx.load(DEMO / "networks" / "garment.onnx").graph
            weights = {i.name: torch.from_numpy(onnx.numpy_helper.to_array(i).copy()) for i in graph.initializer}
            trained = iter(node for node in graph.node if node.op_type == "Conv")
            for parent in list(self.net.modules()):
                for name, child in list(parent.named_children()):
                    if isinstance(child, nn.BatchNorm2d):
                        setattr(parent, name, nn.Identity())
                    elif isinstance(child, nn.Conv2d):
                        node = next(trained)
                        child.weight.data = weights[node.input[1]]
                        child.bias = nn.Parameter(weights[node.input[2]])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

    images, classes = (train.read_idx(FASHION, f"train-{k}-ubyte") for k in ("images-idx3", "labels-idx1"))
    test, truth = (train.read_idx(FASHION, f"t10k-{k}-ubyte") for k in ("images-idx3", "labels-idx1"))
    x = train.normalised(images[: -train.HELD_OUT], "fashion")
    labels = {"garment": truth}
    for seed, (name, (rate, of_garment)) in enumerate(TASKS.items()):
        torch.manual_seed(seed)
        meaning = np.array(of_garment)
        network = Folded(int(meaning.max()) + 1)
        y = torch.from_numpy(meaning[classes[: -train.HELD_OUT]].astype(np.int64))
        train.train(network, x, y, epochs=1, rate=rate, seed=seed, mirror=True, name=name)
        labels[name] = meaning[truth]
        score = train.accuracy(network, train.normalised(test, "fashion"), torch.from_numpy(labels[name]))
        print(f"{name}: {100 * score:.2f} % of {len(test):,} test images")
        train.export(network, folder / f"{name}.onnx")
    return labels
