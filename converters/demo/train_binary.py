"""Trains a binary network on real public data and exports it as ONNX: weights and activations of -1 and 1 inside.

The network is committed (``packaging/demo/multigraft_demo/networks/digit_binary.onnx``), so nobody needs to run this.
It reads the same files of MNIST as :mod:`multigraft.converters.demo.train`, and leaves the same images out::

    python -m multigraft.converters.demo.train_binary --mnist DIR -o digit_binary.onnx

The gradient of a sign is taken as that of a clip to -1 and 1 (straight-through estimator; Hubara et al., "Binarized
Neural Networks", 2016). Signs are written as comparisons with 0, so that the sign of 0 is 1 in PyTorch, in ONNX and in
bits. The exported weights are int8 with one float a channel, which is a quarter of what float32 takes in the file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from multigraft.converters.demo.train import HELD_OUT, accuracy, export, normalised, read_idx, shifted

CHANNELS = 64
EPOCHS = 3
RATE = 3e-3
BATCH = 128


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() <= 1)


def sign(x: torch.Tensor) -> torch.Tensor:
    """1 where ``x`` is at least 0, otherwise -1."""
    return _Sign.apply(x) if torch.is_grad_enabled() else torch.where(x >= 0, 1.0, -1.0)


class BinaryConv(nn.Module):
    """A 3 x 3 convolution of signs with weights of -a and a, one a for each output channel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3).uniform_(-1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = self.weight.abs().mean((1, 2, 3), keepdim=True).detach()
        return nn.functional.conv2d(sign(x), sign(self.weight) * size, padding=1)

    def frozen(self) -> FrozenConv:
        """The same, to export."""
        return FrozenConv(self.weight.detach())


class FrozenConv(nn.Module):
    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("bits", torch.where(weight >= 0, 1, -1).to(torch.int8))
        self.register_buffer("size", weight.abs().mean((1, 2, 3), keepdim=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(sign(x), self.bits.to(torch.float32) * self.size, padding=1)


class BinaryDigits(nn.Module):
    """A float stem, four binary layers of which three read bits that the one before has made, a float classifier."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, CHANNELS, 3, 2, 1, bias=False),
            nn.BatchNorm2d(CHANNELS),
            BinaryConv(CHANNELS, CHANNELS),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(CHANNELS),
            BinaryConv(CHANNELS, CHANNELS),
            nn.BatchNorm2d(CHANNELS),
            BinaryConv(CHANNELS, CHANNELS),
            nn.BatchNorm2d(CHANNELS),
            BinaryConv(CHANNELS, CHANNELS),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(CHANNELS, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def train(net: BinaryDigits, x: torch.Tensor, y: torch.Tensor) -> None:
    """Adam with a falling rate; latent weights stay within -1 and 1, where their gradient is not 0."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(net.parameters(), RATE)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    for epoch in range(EPOCHS):
        net.train()
        order, total = torch.randperm(len(x), generator=generator), 0.0
        for i in range(len(x) // BATCH):
            rows = order[i * BATCH : (i + 1) * BATCH]
            loss = nn.functional.cross_entropy(net(shifted(x[rows], generator, mirror=False)), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                for layer in net.modules():
                    if isinstance(layer, BinaryConv):
                        layer.weight.clamp_(-1, 1)
            total += loss.item()
        print(f"epoch {epoch + 1} of {EPOCHS}, loss {total / (len(x) // BATCH):.4f}", flush=True)


def frozen(net: BinaryDigits) -> BinaryDigits:
    """The network with weights as they are exported."""
    layers = [layer.frozen() if isinstance(layer, BinaryConv) else layer for layer in net.features]
    net.features = nn.Sequential(*layers)
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    images, labels, test, test_labels = (
        read_idx(options.mnist, f"{part}-{kind}-ubyte")
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    )
    net = BinaryDigits()
    train(net, normalised(images[:-HELD_OUT], "mnist"), torch.from_numpy(labels[:-HELD_OUT].astype(np.int64)))
    whole = frozen(net)
    score = accuracy(whole, normalised(test, "mnist"), torch.from_numpy(test_labels.astype(np.int64)))
    print(f"{100 * score:.2f} % of {len(test)} test images", flush=True)
    export(whole, options.output, folds=False)


if __name__ == "__main__":
    main()
