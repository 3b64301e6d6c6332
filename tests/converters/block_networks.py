"""Small networks of blocks that people use, with batch norms to fold and seeded weights, as PyTorch exports them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx

from tests.converters.onnx_builder import OnnxBuilder

SIZE = 32
"""Height and width of the picture."""


class Blocks(OnnxBuilder):
    """Blocks by the names of their papers; a convolution ends in a batch norm, whose statistics are made up."""

    def bn(self, x: str) -> str:
        def drawn(part: str, low: float, high: float) -> str:
            values = self.rng.uniform(low, high, self.channels[x]).astype(np.float32)
            return self.constant(f"{x}.bn.{part}", values)

        statistics = drawn("mean", -0.2, 0.2), drawn("var", 0.5, 1.5)
        return self.add(
            "BatchNormalization", f"{x}.bn", x, drawn("gamma", 0.6, 1.4), drawn("beta", -0.2, 0.3), *statistics
        )

    def conv_bn(
        self, name: str, x: str, outputs: int, kernel: int = 1, stride: int = 1, group: int = 1, act: str = "Relu"
    ) -> str:
        made = self.bn(self.conv(name, x, outputs, kernel, stride, group))
        return self.act(act, made) if act else made

    def act(self, kind: str, x: str) -> str:
        """Relu, Hardswish, or a swish in two nodes."""
        if kind == "Swish":
            return self.add("Mul", f"{x}.swish", x, self.add("Sigmoid", f"{x}.gate", x))
        return self.add(kind, f"{x}.act", x)

    def depthwise(self, name: str, x: str, kernel: int = 3, stride: int = 1, act: str = "Relu") -> str:
        return self.conv_bn(name, x, self.channels[x], kernel, stride, self.channels[x], act)

    def join(self, name: str, *parts: str) -> str:
        return self.add("Concat", name, *parts, channels=sum(self.channels[p] for p in parts), axis=1)

    def pool(self, kind: str, name: str, x: str, ceil: int = 0) -> str:
        pads = [0] * 4 if ceil else [1] * 4
        return self.add(kind, name, x, kernel_shape=[3, 3], strides=[2, 2], pads=pads, ceil_mode=ceil)

    def gate(self, name: str, x: str, least: int = 4, kind: str = "Sigmoid") -> str:
        """Squeeze and excitation (arXiv 1709.01507)."""
        mean = self.add("GlobalAveragePool", f"{name}.mean", x)
        hidden = self.add(
            "Relu", f"{name}.few.act", self.conv(f"{name}.few", mean, max(self.channels[x] // 4, least), 1)
        )
        opened = self.add(kind, f"{name}.open", self.conv(f"{name}.all", hidden, self.channels[x], 1))
        return self.add("Mul", f"{name}.gated", x, opened)

    def shuffle(self, name: str, x: str, groups: int, size: int) -> str:
        """Channels of every group in turn, as ``view``, ``transpose`` and ``view`` do it."""
        width = self.channels[x]
        parted = self.constant(f"{name}.parted", np.array([1, groups, width // groups, size, size]))
        whole = self.constant(f"{name}.whole", np.array([1, width, size, size]))
        turned = self.add(
            "Transpose", f"{name}.turned", self.add("Reshape", f"{name}.apart", x, parted), perm=[0, 2, 1, 3, 4]
        )
        return self.add("Reshape", f"{name}.shuffled", turned, whole, channels=width)

    def shuffle_v1(self, name: str, x: str, outputs: int, size: int, stride: int, groups: int = 3) -> str:
        """The unit of ShuffleNet (arXiv 1707.01083, figure 2); ``size`` is that of what it reads."""
        have, made = self.channels[x], outputs - (self.channels[x] if stride == 2 else 0)
        hidden = outputs // 4
        first = 1 if have % groups else groups
        y = self.shuffle(name, self.conv_bn(f"{name}.few", x, hidden, group=first), groups, size)
        y = self.depthwise(f"{name}.deep", y, 3, stride, act="")
        y = self.conv_bn(f"{name}.back", y, made, group=groups, act="")
        if stride == 2:
            return self.act("Relu", self.join(f"{name}.both", self.pool("AveragePool", f"{name}.small", x), y))
        return self.act("Relu", self.add("Add", f"{name}.sum", x, y))

    def fire(self, name: str, x: str, few: int, each: int) -> str:
        """That of SqueezeNet (arXiv 1602.07360)."""
        squeezed = self.conv_relu(f"{name}.few", x, few, 1)
        return self.join(
            name, self.conv_relu(f"{name}.one", squeezed, each, 1), self.conv_relu(f"{name}.three", squeezed, each)
        )

    def ghost(self, name: str, x: str, outputs: int, act: str = "Relu") -> str:
        """The module of GhostNet (arXiv 1911.11907): one half is made of the other, the rest is cut off."""
        half = -(-outputs // 2)
        own = self.conv_bn(f"{name}.own", x, half, act=act)
        both = self.join(f"{name}.both", own, self.depthwise(f"{name}.cheap", own, 3, act=act))
        ends = (
            self.constant(f"{name}.{part}", np.array([at]))
            for part, at in (("start", 0), ("end", outputs), ("axis", 1))
        )
        return self.add("Slice", f"{name}.cut", both, *ends, channels=outputs)

    def ghost_block(self, name: str, x: str, hidden: int, outputs: int, stride: int) -> str:
        y = self.ghost(f"{name}.wide", x, hidden)
        if stride == 2:
            y = self.depthwise(f"{name}.deep", y, 3, 2, act="")
        y = self.ghost(f"{name}.back", self.gate(f"{name}.gate", y, kind="HardSigmoid"), outputs, act="")
        if stride == 1 and self.channels[x] == outputs:
            return self.add("Add", f"{name}.sum", y, x)
        aside = self.depthwise(f"{name}.aside", x, 3, stride, act="")
        return self.add("Add", f"{name}.sum", y, self.conv_bn(f"{name}.fit", aside, outputs, act=""))

    def regnet(self, name: str, x: str, outputs: int, stride: int, width: int = 8) -> str:
        """The Y block (arXiv 2003.13678): groups of ``width`` channels and a gate."""
        y = self.conv_bn(f"{name}.a", x, outputs)
        y = self.gate(f"{name}.gate", self.conv_bn(f"{name}.b", y, outputs, 3, stride, outputs // width))
        y = self.conv_bn(f"{name}.c", y, outputs, act="")
        aside = (
            x
            if stride == 1 and self.channels[x] == outputs
            else self.conv_bn(f"{name}.fit", x, outputs, 1, stride, act="")
        )
        return self.act("Relu", self.add("Add", f"{name}.sum", aside, y))

    def dense(self, name: str, x: str, layers: int, growth: int) -> str:
        """A block of DenseNet (arXiv 1608.06993): every layer reads all before it, through a batch norm of its own."""
        seen = [x]
        for k in range(layers):
            joined = (
                self.join(f"{name}.{k}.seen", *seen) if len(seen) > 1 else self.add("Identity", f"{name}.{k}.seen", x)
            )
            y = self.conv_bn(f"{name}.{k}.few", self.act("Relu", self.bn(joined)), 2 * growth)
            seen.append(self.conv(f"{name}.{k}.new", y, growth))
        return self.join(f"{name}.all", *seen)

    def transition(self, name: str, x: str) -> str:
        y = self.conv(name, self.act("Relu", self.bn(x)), self.channels[x] // 2, 1)
        return self.add("AveragePool", f"{name}.small", y, kernel_shape=[2, 2], strides=[2, 2])

    def parts(self, name: str, x: str, widths: Sequence[int]) -> list[str]:
        """The channels of a tensor in pieces."""
        sizes, names = self.constant(f"{name}.sizes", np.array(widths)), [f"{name}.{k}" for k in range(len(widths))]
        self.nodes.append(onnx.helper.make_node("Split", [x, sizes], names, axis=1))
        self.channels |= dict(zip(names, widths, strict=True))
        return names

    def mix(self, name: str, x: str, outputs: int, stride: int, hidden: int = 24, splits: int = 2) -> str:
        """The block of MixNet (arXiv 1907.09595): kernels of 3, 5 and 7, and pointwise layers of parts."""
        pieces = self.parts(f"{name}.in", x, [self.channels[x] // splits] * splits)
        y = self.join(f"{name}.wide", *(self.conv(f"{p}.wide", p, hidden // splits, 1) for p in pieces))
        pieces = self.parts(f"{name}.kernels", self.act("Swish", self.bn(y)), [hidden // 3] * 3)
        deep = (self.conv(f"{p}.deep", p, hidden // 3, 3 + 2 * k, stride, hidden // 3) for k, p in enumerate(pieces))
        y = self.gate(f"{name}.gate", self.act("Swish", self.bn(self.join(f"{name}.deep", *deep))))
        pieces = self.parts(f"{name}.out", y, [hidden // splits] * splits)
        y = self.bn(self.join(f"{name}.back", *(self.conv(f"{p}.back", p, outputs // splits, 1) for p in pieces)))
        return self.add("Add", f"{name}.sum", y, x) if stride == 1 and self.channels[x] == outputs else y


def shufflenet_v1(b: Blocks, x: str) -> str:
    x = b.pool("MaxPool", "pool", b.conv_bn("stem", x, 12, 3, 2))
    x = b.shuffle_v1("one", x, 48, 8, 2)
    x = b.shuffle_v1("two", x, 48, 4, 1)
    return b.shuffle_v1("three", x, 96, 4, 2)


def squeezenet(b: Blocks, x: str) -> str:
    x = b.pool("MaxPool", "pool", b.conv_relu("stem", x, 16, 3, 2), ceil=1)
    x = b.fire("two", b.fire("one", x, 6, 12), 6, 12)
    return b.fire("three", b.pool("MaxPool", "pool_2", x, ceil=1), 8, 16)


def ghostnet(b: Blocks, x: str) -> str:
    x = b.conv_bn("stem", x, 8, 3, 2)
    x = b.ghost_block("two", b.ghost_block("one", x, 24, 11, 2), 22, 11, 1)
    return b.ghost_block("three", x, 33, 16, 2)


def regnet(b: Blocks, x: str) -> str:
    x = b.conv_bn("stem", x, 8, 3, 2)
    return b.regnet("three", b.regnet("two", b.regnet("one", x, 16, 2), 16, 1), 32, 2)


def densenet(b: Blocks, x: str) -> str:
    x = b.dense("one", b.pool("MaxPool", "pool", b.conv_bn("stem", x, 12, 3, 2)), 3, 6)
    return b.act("Relu", b.bn(b.dense("two", b.transition("between", x), 3, 6)))


def mixnet(b: Blocks, x: str) -> str:
    x = b.conv_bn("stem", x, 12, 3, 2)
    return b.mix("three", b.mix("two", b.mix("one", x, 12, 2), 12, 1), 16, 2)


KINDS: dict[str, Callable[[Blocks, str], str]] = {
    made.__name__: made for made in (shufflenet_v1, squeezenet, ghostnet, regnet, densenet, mixnet)
}


def block_network(kind: str, seed: int, classes: int = 4) -> onnx.ModelProto:
    """A network of one kind that answers with ``classes`` numbers; seeds differ in weights."""
    b = Blocks(seed)
    x = KINDS[kind](b, b.input("image", 3, SIZE, SIZE))
    if kind == "squeezenet":
        x = b.conv_relu("last", x, classes, 1)
        return b.model(b.add("Flatten", "answer", b.add("GlobalAveragePool", "mean", x), axis=1))
    return b.model(b.classifier("answer", x, classes))
