"""Two convolutions as one step: the rows between them live in a ring of as many as the second one's kernel is high.

If an ADD follows, it joins the step row by row. What the pair reads and what it writes may then share memory, as a row
of the result is written only when the rows it is computed from are no longer needed. Whether that pays depends on the
whole plan, so :func:`stream` asks the planner and keeps a fusion only if it saves memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import digest
from multigraft.firmware_gen.kernels.convolution import PixelKernel, convolution_kernel
from multigraft.firmware_gen.kernels.kernel import Kernel, Overlap
from multigraft.firmware_gen.kernels.lowered_step import LoweredStep
from multigraft.firmware_gen.passes.intervals import layer_of
from multigraft.firmware_gen.program.program import Node, Step

LEAST_SAVING = 0.02
"""Share of the arena a fusion has to save: it costs instructions where rows have an odd number of pixels."""
_MOST_STEPS = 60


def stream(
    steps: list[LoweredStep], kept: set[str], core: CoreFeatures, arena_bytes: Callable[[list[LoweredStep]], int]
) -> list[LoweredStep]:
    """The steps with those pairs fused that make the arena smaller.

    Args:
        steps: In running order.
        kept: Buffers that have to be there at the end.
        core: What kernels are made for.
        arena_bytes: Plans the arena of some steps.
    """
    if len(steps) > _MOST_STEPS:
        return steps
    size = arena_bytes(steps)
    while True:
        options = [(arena_bytes(fused), n, fused) for n, fused in enumerate(_fusions(steps, kept, core))]
        if not options:
            return steps
        smallest, _, fused = min(options, key=lambda option: option[:2])
        if smallest > (1 - LEAST_SAVING) * size:
            return steps
        steps, size = fused, smallest


def _fusions(steps: list[LoweredStep], kept: set[str], core: CoreFeatures) -> Iterator[list[LoweredStep]]:
    """Every way to fuse one more pair."""
    readers: dict[str, list[int]] = {}
    for index, s in enumerate(steps):
        for name in s.reads:
            readers.setdefault(name, []).append(index)

    def only_reader(index: int) -> int | None:
        name = steps[index].writes[0]
        return readers[name][0] if name not in kept and len(readers.get(name, [])) == 1 else None

    for first, s in enumerate(steps):
        second = only_reader(first) if s.step.node.name == "CONV_2D" else None
        if second is None or steps[second].step.node.name != "CONV_2D":
            continue
        chain = [first, second]
        last = only_reader(second)
        if last is not None and _adds_rows(steps[last]):
            chain.append(last)
        if len({steps[i].step.tasks for i in chain}) > 1:
            continue
        fused = fuse(*(steps[i] for i in chain), core=core)
        if fused is not None:
            yield [fused if i == chain[-1] else p for i, p in enumerate(steps) if i not in chain[:-1]]


def _adds_rows(s: LoweredStep) -> bool:
    """An addition of two computed tensors of one shape, which any run of elements can be asked of."""
    return s.step.node.name in ("ADD", "SUB") and s.kernel.pieces is not None


def fuse(
    first: LoweredStep, second: LoweredStep, add: LoweredStep | None = None, *, core: CoreFeatures
) -> LoweredStep | None:
    """The steps as one, or None if the second convolution needs all rows at once or one pixel only."""
    before, one = layer_of(first.step.node)[1], first.kernel.pieces
    layer, after = layer_of(second.step.node)
    assert before is not None and after is not None and isinstance(one, PixelKernel)
    ring = (after.k_h - 1) * after.dilation_h + 1
    if after.pointwise or ring >= after.in_h:
        return None
    kernel = convolution_kernel(layer, after, core, ring)
    two = kernel.pieces
    assert isinstance(two, PixelKernel)
    reads, overlaps = [first.reads[0]], {0: Overlap(_distance(before, after, ring, False))}
    addition = ""
    if add is not None:
        position = add.reads.index(second.writes[0])
        other = add.reads[1 - position]
        overlaps = {0: Overlap(_distance(before, after, ring, other == reads[0]))}
        if other != reads[0]:
            reads.append(other)
            overlaps[1] = Overlap(0)
        terms = "row, other" if position == 0 else "other, row"
        addition = f"        {add.kernel.pieces}({terms}, out, {after.out_w * after.out_c});\n"
    middle, result = after.in_w * after.in_c, after.out_w * after.out_c
    row_at = _words(ring * middle)
    column_at = row_at + (_words(result) if add is not None else 0)
    words = _words(len(first.kernel.constant)) // 4
    body = (
        "    int8_t *const ring = scratch;\n"
        + (f"    int8_t *const row = ring + {row_at};\n" if add is not None else "")
        + f"    void *const column = ring + {column_at};\n"
        "    int32_t done = 0;\n"
        f"    for (int32_t y = 0; y < {after.out_h}; y++) {{\n"
        f"        const int32_t needed = mg_min({after.in_h}, y * {after.stride_h} + {ring - after.pad_h});\n"
        "        for (; done < needed; done++)\n"
        f"            {one.function}(in, ring + done % {ring} * {middle}, constants, column,"
        f" done * {after.in_w}, (done + 1) * {after.in_w});\n"
        f"        {two.function}(ring, {'row' if add is not None else 'out'}, (const uint32_t *)constants + {words},"
        f" column, y * {after.out_w}, (y + 1) * {after.out_w});\n"
        f"{addition}"
        + (f"        other += {result};\n" if add is not None else "")
        + f"        out += {result};\n    }}\n"
    )
    name = f"stream_{digest(body)}"
    arguments = "const int8_t *in, " + ("const int8_t *other, " if add is not None else "")
    text = f"MG_KERNEL void {name}({arguments}int8_t *out, const void *constants, void *scratch)\n{{\n{body}}}\n"

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        others = f"{ins[-1]}, " if add is not None else ""
        return f"{name}({ins[0]}, {others}{outs[0]}, {constants}, {scratch});"

    parts = [p for p in (first, second, add) if p is not None]
    functions = {**first.kernel.functions, **kernel.functions, **(add.kernel.functions if add else {}), name: text}
    includes = tuple(dict.fromkeys((*first.kernel.includes, *kernel.includes, *(add.kernel.includes if add else ()))))
    constant = first.kernel.constant + bytes(4 * words - len(first.kernel.constant)) + kernel.constant
    scratch_bytes = column_at + max(first.kernel.scratch_bytes, kernel.scratch_bytes)
    macs = sum(p.kernel.macs for p in parts)
    made = Kernel(call, includes, functions, constant, scratch_bytes, overlaps, macs=macs)
    return LoweredStep(_step(parts, reads), made, tuple(reads), parts[-1].writes, parts[-1].repeat)


def _words(count: int) -> int:
    return -(-count // 4) * 4


def _step(parts: Sequence[LoweredStep], reads: Sequence[str]) -> Step:
    """A step that stands for all parts, its inputs being the tensors that are read from outside."""
    tensors = {name: t for p in parts for name, t in zip(p.reads, p.step.node.inputs, strict=True)}
    op = replace(parts[-1].step.node.op, custom_code="+".join(p.step.node.name for p in parts))
    node = Node(op, tuple(tensors[name] for name in reads), parts[-1].step.node.outputs)
    return Step(node, parts[-1].step.tasks)


def _distance(before: Window, after: Window, ring: int, adds_input: bool) -> int:
    """Least distance of the input behind the output, so that no row is overwritten before it is last read."""
    row, result = before.in_w * before.in_c, after.out_w * after.out_c
    distance = 0
    for y in range(after.out_h - 1):
        done = min(after.in_h, y * after.stride_h - after.pad_h + ring)
        least = before.in_h * row
        if done < after.in_h:
            least = min(max(done * before.stride_h - before.pad_h, 0), before.in_h) * row
        if adds_input:
            least = min(least, (y + 1) * result)
        distance = max(distance, (y + 1) * result - least)
    return distance
