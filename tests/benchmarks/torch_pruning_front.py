"""What torch-pruning (DepGraph, arXiv 2301.12900) keeps of a CIFAR ResNet without training, by share of its MACs.

``python -m tests.benchmarks.torch_pruning_front resnet20.onnx test.npz --shares 0.75 0.51``: beside
``tests.benchmarks.thinning_front``, whose widths are multigraft's own. It needs torch, torch-pruning and onnx alone, so
that it runs in an environment of its own. The ONNX file has a stem, blocks of two convolutions with shortcuts that take
every other position and pad channels, and a dense layer, as those of akamaster/pytorch_resnet_cifar10 have.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
STEPS = 20
"""Halvings in the search for the share of channels that gives a share of the MACs."""


def network(path: Path) -> Any:
    """The network as a PyTorch module, with the weights of the file."""
    import onnx
    import torch
    from onnx import numpy_helper
    from torch import nn
    from torch.nn import functional

    model = onnx.load(path)
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    convolutions = []
    for node in (n for n in model.graph.node if n.op_type == "Conv"):
        weight, bias = (torch.from_numpy(constants[name].copy()) for name in node.input[1:3])
        stride = next(a.ints[0] for a in node.attribute if a.name == "strides")
        made = nn.Conv2d(weight.shape[1], weight.shape[0], 3, stride, 1)
        made.weight.data, made.bias.data = weight, bias
        convolutions.append(made)
    dense = next(n for n in model.graph.node if n.op_type == "Gemm")
    weight, bias = (torch.from_numpy(constants[name].copy()) for name in dense.input[1:3])
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight.data, linear.bias.data = weight, bias

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.linear = convolutions[0], linear
            self.first, self.second = nn.ModuleList(convolutions[1::2]), nn.ModuleList(convolutions[2::2])

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.stem(x))
            for first, second in zip(self.first, self.second, strict=True):
                y = second(torch.relu(first(x)))
                if (more := second.out_channels - x.shape[1]) > 0:
                    x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more // 2, more // 2))
                x = torch.relu(x + y)
            return self.linear(x.mean((2, 3)))

    return ResNet().eval()


def pruned(path: Path, share: float, *, is_global: bool) -> tuple[Any, float]:
    """The network pruned by group norms to ``share`` of its MACs, and the share that it came to.

    Hidden channels of the blocks go: those of the residual streams are tied by padded shortcuts.
    """
    import torch
    import torch_pruning as tp

    example = torch.zeros(1, 3, 32, 32)
    whole, _ = tp.utils.count_ops_and_params(network(path), example)

    def made(ratio: float) -> tuple[Any, float]:
        model = network(path)
        pruner = tp.pruner.MagnitudePruner(
            model,
            example,
            importance=tp.importance.GroupMagnitudeImportance(p=2),
            global_pruning=is_global,
            pruning_ratio=ratio,
            max_pruning_ratio=0.95,
            ignored_layers=[model.stem, *model.second, model.linear],
        )
        pruner.step()
        return model, tp.utils.count_ops_and_params(model, example)[0] / whole

    low, high = 0.0, 0.95
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if made(middle)[1] > share else (low, middle)
    return made(high)


def accuracy(model: Any, frames: Any, labels: Any) -> float:
    """Share of right answers on uint8 RGB frames (frames, height, width, 3)."""
    import torch

    right = 0
    with torch.no_grad():
        for start in range(0, len(frames), 500):
            part = ((frames[start : start + 500] - np.array(MEAN)) / np.array(DEVIATION)).astype(np.float32)
            answers = model(torch.from_numpy(part.transpose(0, 3, 1, 2).copy())).argmax(1).numpy()
            right += int((answers == labels[start : start + 500]).sum())
    return right / len(frames)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", type=Path)
    parser.add_argument("labelled", type=Path, help="frames and labels (.npz)")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.9, 0.75, 0.6, 0.5, 0.4])
    options = parser.parse_args()
    with np.load(options.labelled) as arrays:
        frames, labels = arrays["frames"], arrays["labels"]
    print(f"as it is: {100 * accuracy(network(options.network), frames, labels):.2f} % of {len(frames):,} images")
    print("| MACs, alike in every block | accuracy, % | MACs, over all blocks | accuracy, % |\n|---|---|---|---|")
    for share in options.shares:
        cells = []
        for is_global in (False, True):
            model, left = pruned(options.network, share, is_global=is_global)
            cells += [f"{left:.3f}", f"{100 * accuracy(model, frames, labels):.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
