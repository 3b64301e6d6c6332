"""Trains the demo's two keyword networks on synthetic words and exports them as ONNX.

The networks are committed, so nobody needs to run this; it is here so that anybody can. Nothing is downloaded: the
sounds come from :mod:`multigraft.converters.demo.speech`, the features from :mod:`multigraft.sounds`::

    python -m multigraft.converters.demo.train_sounds -o OUT

The demo's own were written into ``packaging/demo/multigraft_demo/networks``. ``command`` and ``number`` are trained
independently, on other clips, from other seeds; each learns to answer ``nothing`` to the other's words.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from multigraft.converters.demo.speech import COMMANDS, NOTHING, NUMBERS, WORDS, spoken
from multigraft.sounds.front_end import NAMED, UNITS_PER_NAT
from multigraft.sounds.log_mel import log_mel

MEAN, SCALE = -7.0, 0.2
"""Input = (feature in nats - mean) * scale."""
CLIPS, TEST_CLIPS, EPOCHS, CHANNELS = 4000, 1000, 15, 32


class Separable(nn.Sequential):
    """A depthwise and a pointwise convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )


class KeywordNet(nn.Sequential):
    """A small DS-CNN (Zhang et al., "Hello Edge: keyword spotting on microcontrollers", 2017) for 49 x 40 features."""

    def __init__(self, classes: int) -> None:
        super().__init__(
            nn.Conv2d(1, CHANNELS, 5, 2, 2, bias=False),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(),
            Separable(CHANNELS),
            Separable(CHANNELS),
            Separable(CHANNELS),
            Separable(CHANNELS),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(CHANNELS, classes),
        )


def clips(count: int, seed: int, asked: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (count x 1 x 49 x 40) and labels; one clip in four holds nothing, or a word that is not asked about."""
    random = np.random.default_rng(seed)
    others = [word for word in WORDS if word not in asked] + [NOTHING] * 8
    inputs, labels = [], []
    for _ in range(count):
        word = str(random.choice(asked if random.random() < 0.75 else others))
        features = log_mel(spoken(word, random), NAMED["keyword"]).astype(np.float32) / UNITS_PER_NAT
        inputs.append((features - np.float32(MEAN)) * np.float32(SCALE))
        labels.append(1 + list(asked).index(word) if word in asked else 0)
    return torch.from_numpy(np.stack(inputs))[:, None], torch.tensor(labels)


def train(asked: Sequence[str], seed: int, name: str) -> nn.Module:
    """A network trained on clips of its own, and how often it is right on others."""
    torch.manual_seed(seed)
    # More threads would change the sums' order, and with it the weights.
    torch.set_num_threads(1)
    x, y = clips(CLIPS, 2 * seed, asked)
    net, batch = KeywordNet(1 + len(asked)), 50
    optimiser = torch.optim.AdamW(net.parameters(), 4e-3, weight_decay=1e-2)
    steps = EPOCHS * (CLIPS // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps, pct_start=0.2)
    for epoch in range(EPOCHS):
        order, total = torch.randperm(CLIPS), 0.0
        for rows in order.split(batch):
            late = int(torch.randint(-4, 5, ()))
            given = torch.roll(x[rows], late, 2) + 0.05 * torch.randn(len(rows), 1, 1, 1)
            loss = nn.functional.cross_entropy(net(given), y[rows], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"{name}: epoch {epoch + 1} of {EPOCHS}, loss {total / (CLIPS // batch):.4f}", flush=True)
    net.eval()
    tx, ty = clips(TEST_CLIPS, 2 * seed + 1, asked)
    with torch.no_grad():
        right = int((net(tx).argmax(1) == ty).sum())
    print(f"{name}: {100 * right / TEST_CLIPS:.2f} % of {TEST_CLIPS} other clips", flush=True)
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    for name, asked, seed in (("command", tuple(COMMANDS), 5), ("number", tuple(NUMBERS), 6)):
        net = train(asked, seed, name)
        torch.onnx.export(
            net,
            (torch.zeros(1, 1, 49, 40),),
            str(output / f"{name}.onnx"),
            input_names=["features"],
            output_names=["logits"],
            dynamo=False,
            opset_version=17,
        )


if __name__ == "__main__":
    main()
