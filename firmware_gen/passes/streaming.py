"""Layers over images as one step: the rows between them live in rings as high as the kernels that read them.

If an ADD follows, it joins the step row by row. What the chain reads and what it writes may then share memory, as a row
of the result is written only when the rows it is computed from are no longer needed. Whether that pays depends on the
whole plan, so :func:`stream` asks the planner and keeps a fusion only if it saves memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.kernels.c_text import digest
from multigraft.firmware_gen.kernels.kernel import Kernel, Overlap
from multigraft.firmware_gen.kernels.lowered_step import LoweredStep
from multigraft.firmware_gen.kernels.pixel_kernel import PixelKernel
from multigraft.firmware_gen.program.program import Node, Step

LEAST_SAVING = 0.02
"""Share of the arena a fusion has to save: it costs instructions where rows have an odd number of pixels."""
_MOST_STEPS = 60


@dataclass(frozen=True)
class Chain:
    """What a step was made of: layers that slide over images, and an addition of the last one's rows."""

    layers: tuple[LoweredStep, ...]
    add: LoweredStep | None = None


def stream(
    steps: list[LoweredStep],
    kept: set[str],
    arena_bytes: Callable[[list[LoweredStep]], int],
    least_bytes: Callable[[list[LoweredStep]], int],
) -> list[LoweredStep]:
    """The steps with those neighbours fused that make the arena smaller.

    Args:
        steps: In running order.
        kept: Buffers that have to be there at the end.
        arena_bytes: Plans the arena of some steps.
        least_bytes: What no plan of them can go below, at a small part of the cost.
    """
    if len(steps) > _MOST_STEPS:
        return steps
    size = arena_bytes(steps)
    while True:
        least = (1 - LEAST_SAVING) * size
        options = list(_fusions(steps, kept, least if least < size else 0))
        smallest: tuple[int, int] | None = None
        for bound, n in sorted((least_bytes(fused), n) for n, fused in enumerate(options)):
            if bound > least:
                break
            if smallest is None or (bound, n) < smallest:
                planned = arena_bytes(options[n]), n
                smallest = planned if smallest is None else min(smallest, planned)
        if smallest is None or smallest[0] > least:
            return steps
        size, steps = smallest[0], options[smallest[1]]


def _fusions(steps: list[LoweredStep], kept: set[str], crowded: float) -> Iterator[list[LoweredStep]]:
    """Every way to fuse two more neighbours of which one runs while at least ``crowded`` bytes are in use."""
    readers: dict[str, list[int]] = {}
    for index, s in enumerate(steps):
        for name in s.reads:
            readers.setdefault(name, []).append(index)
    loads = _loads(steps, kept)

    def only_reader(index: int) -> int | None:
        name = steps[index].writes[0]
        return readers[name][0] if name not in kept and len(readers.get(name, [])) == 1 else None

    for first, s in enumerate(steps):
        before = _chain(s)
        second = only_reader(first) if before is not None and before.add is None else None
        after = _chain(steps[second]) if second is not None else None
        if before is None or second is None or after is None or max(loads[first], loads[second]) < crowded:
            continue
        parts, add = [first, second], after.add
        last = only_reader(second) if add is None else None
        if last is not None and _adds_rows(steps[last]):
            parts.append(last)
            add = steps[last]
        if len({(steps[i].step.tasks, steps[i].repeat, steps[i].condition) for i in parts}) > 1:
            continue
        fused = fuse(Chain((*before.layers, *after.layers), add))
        if fused is not None:
            yield [fused if i == parts[-1] else p for i, p in enumerate(steps) if i not in parts[:-1]]


def _loads(steps: Sequence[LoweredStep], kept: set[str]) -> list[int]:
    """Bytes in use at each step if nothing shares memory: the arena's peak is nowhere higher."""
    sizes: dict[str, int] = {}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, s in enumerate(steps):
        tensors = [*zip(s.reads, s.step.node.inputs, strict=True), *zip(s.writes, s.step.node.outputs, strict=True)]
        for name, tensor in tensors:
            if tensor is None or not name:
                continue
            sizes[name] = max(sizes.get(name, 0), tensor.stored_bytes)
            first.setdefault(name, index if name in s.writes else 0)
            last[name] = len(steps) if name in kept else index
    loads = [s.kernel.scratch_bytes for s in steps]
    for name, size in sizes.items():
        for index in range(first[name], min(last[name] + 1, len(steps))):
            loads[index] += size
    return loads


def _chain(s: LoweredStep) -> Chain | None:
    """The chain a step is, be it of one layer; None if it is none."""
    if isinstance(s.kernel.pieces, Chain):
        return s.kernel.pieces
    return Chain((s,)) if isinstance(s.kernel.pieces, PixelKernel) else None


def _adds_rows(s: LoweredStep) -> bool:
    """An addition of two computed tensors of one shape, which any run of elements can be asked of."""
    return s.step.node.name in ("ADD", "SUB") and s.kernel.pieces is not None


def fuse(chain: Chain) -> LoweredStep | None:
    """The chain as one step.

    None if a layer behind the first needs all rows, the addition needs a tensor of the chain, rows have one pixel, or a
    layer sees an image of another shape than the one before it makes.
    """
    layers, add = chain.layers, chain.add
    windows = [_pieces(s.kernel).over for s in layers]
    # A RESHAPE costs nothing, so it is no step of its own.
    if any((a.out_h, a.out_w, a.out_c) != (b.in_h, b.in_w, b.in_c) for a, b in pairwise(windows)):
        return None
    added = set() if add is None else set(add.reads) - {layers[-1].writes[0]}
    if any(over.span >= over.in_h for over in windows[1:]) or added & {s.writes[0] for s in layers}:
        return None
    if any(over.out_w == 1 for over in windows):
        # Kernels compute two pixels at a time: rows of one would take twice the instructions.
        return None
    # The first layer's input is whole, but rows are asked for one by one.
    rings = [windows[0].in_h, *(over.span for over in windows[1:])]
    kernels = [_pieces(s.kernel).on_ring(rows) for s, rows in zip(layers, rings, strict=True)]
    last, reads = windows[-1], [layers[0].reads[0]]
    overlaps = {0: Overlap(_distance(windows, False))}
    addition = ""
    result = last.out_w * last.out_c
    if add is not None:
        position = add.reads.index(layers[-1].writes[0])
        other = add.reads[1 - position]
        overlaps = {0: Overlap(_distance(windows, other == reads[0]))}
        if other != reads[0]:
            reads.append(other)
            overlaps[1] = Overlap(0)
        terms = "row, other" if position == 0 else "other, row"
        addition = f"        {add.kernel.pieces}({terms}, out, {result});\n        other += {result};\n"
    at, places = 0, ""
    for number, over in enumerate(windows[1:], 1):
        places += f"    int8_t *const ring_{number} = (int8_t *)scratch + {at};\n    int32_t done_{number} = 0;\n"
        at += _words(over.span * over.in_w * over.in_c)
    if add is not None:
        places += f"    int8_t *const row = (int8_t *)scratch + {at};\n"
        at += _words(result)
    places += f"    void *const column = (int8_t *)scratch + {at};\n"
    words, constant = [], b""
    for kernel in kernels:
        words.append(len(constant) // 4)
        constant += kernel.constant + bytes(-len(kernel.constant) % 4)
    to = "out" if add is None else "row"
    body = (
        f"{places}    for (int32_t y = 0; y < {last.out_h}; y++) {{\n"
        f"{_rows(kernels, windows, words, len(windows) - 1, 'y', to, '        ')}{addition}"
        f"        out += {result};\n    }}\n"
    )
    name = f"stream_{digest(body)}"
    arguments = "const int8_t *in, " + ("const int8_t *other, " if add is not None else "")
    text = f"MG_KERNEL void {name}({arguments}int8_t *out, const void *constants, void *scratch)\n{{\n{body}}}\n"

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        others = f"{ins[-1]}, " if add is not None else ""
        return f"{name}({ins[0]}, {others}{outs[0]}, {constants}, {scratch});"

    parts = [*layers, *([add] if add is not None else [])]
    used = [*kernels, *([add.kernel] if add is not None else [])]
    functions = {name: text for kernel in used for name, text in kernel.functions.items()} | {name: text}
    includes = tuple(dict.fromkeys(include for kernel in used for include in kernel.includes))
    scratch_bytes = at + max(kernel.scratch_bytes for kernel in kernels)
    macs = sum(p.kernel.macs for p in parts)
    made = Kernel(call, includes, functions, constant, scratch_bytes, overlaps, pieces=chain, macs=macs)
    return LoweredStep(_step(parts, reads), made, tuple(reads), parts[-1].writes, parts[-1].repeat, parts[-1].condition)


def _rows(
    kernels: Sequence[Kernel], windows: Sequence[Window], words: Sequence[int], number: int, y: str, to: str, pad: str
) -> str:
    """Statements that write row ``y`` of layer ``number`` to ``to``, after what that needs of the layers before."""
    over, begin = windows[number], _pieces(kernels[number]).begin
    constants = f"(const uint32_t *)constants + {words[number]}" if words[number] else "constants"
    source = f"ring_{number}" if number else "in"
    # A pointwise layer's ring is its one row.
    row = "0" if number and over.pointwise else y
    end = str(over.out_w) if row == "0" else f"({row} + 1) * {over.out_w}"
    first = "0" if row == "0" else f"{row} * {over.out_w}"
    text = f"{pad}{begin}{source}, {to}, {constants}, column, {first}, {end});\n"
    if number == 0:
        return text
    done, size = f"done_{number}", over.in_w * over.in_c
    place = source if over.span == 1 else f"{source} + {done} % {over.span} * {size}"
    inner = _rows(kernels, windows, words, number - 1, done, place, f"{pad}    ")
    needed = f"mg_min({over.in_h}, {y} * {over.stride_h} + {over.span - over.pad_h})"
    return (
        f"{pad}const int32_t needed_{number} = {needed};\n"
        f"{pad}for (; {done} < needed_{number}; {done}++) {{\n{inner}{pad}}}\n{text}"
    )


def _pieces(kernel: Kernel) -> PixelKernel:
    assert isinstance(kernel.pieces, PixelKernel)
    return kernel.pieces


def _words(count: int) -> int:
    return -(-count // 4) * 4


def _step(parts: Sequence[LoweredStep], reads: Sequence[str]) -> Step:
    """A step that stands for all parts, its inputs being the tensors that are read from outside."""
    tensors = {name: t for p in parts for name, t in zip(p.reads, p.step.node.inputs, strict=True)}
    op = replace(parts[-1].step.node.op, custom_code="+".join(p.step.node.name for p in parts))
    node = Node(op, tuple(tensors[name] for name in reads), parts[-1].step.node.outputs)
    return Step(node, parts[-1].step.tasks)


def _distance(windows: Sequence[Window], adds_input: bool) -> int:
    """Least distance of the input behind the output, so that no row is overwritten before it is last read."""
    first, last = windows[0], windows[-1]
    row, result = first.in_w * first.in_c, last.out_w * last.out_c
    distance = 0
    for y in range(last.out_h - 1):
        done = y + 1
        for over in reversed(windows[1:]):
            done = over.rows_needed(done)
        least = first.in_h * row
        if done < first.out_h:
            least = min(max(done * first.stride_h - first.pad_h, 0), first.in_h) * row
        if adds_input:
            least = min(least, (y + 1) * result)
        distance = max(distance, (y + 1) * result - least)
    return distance
