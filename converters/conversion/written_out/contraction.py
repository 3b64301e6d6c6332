"""Einsum as one product of matrices between transposes and reshapes, and the determinants of small matrices."""

from __future__ import annotations

import math

from multigraft.converters.conversion.rewrites.editing import Rule, Shape, Writer, attributes

_LARGEST_SIDE = 4
"""Of a matrix whose determinant is written out: 24 products."""


_MOST_DIMENSIONS = 5


def einsum(writer: Writer) -> bool:
    """Sum over what only one operand has, then multiply matrices of batch, kept and summed dimensions."""
    node = writer.node
    shapes = [writer.editor.shape(n) for n in node.input]
    equation = attributes(writer.node)["equation"].replace(" ", "")
    if any(s is None for s in shapes) or len(shapes) > 2:
        return False
    parsed = _letters(equation, [s for s in shapes if s is not None])
    if parsed is None:
        return False
    terms, result, size = parsed
    operands = list(zip(node.input, terms, strict=True))
    others = [result, "".join(terms)]
    for number, (name, term) in enumerate(operands):
        rest = result + "".join(t for i, t in enumerate(terms) if i != number)
        alone = [i for i, letter in enumerate(term) if letter not in rest]
        if alone:
            name = _summed(writer, name, alone)
            operands[number] = name, "".join(letter for letter in term if letter in rest)
    if len(operands) == 1:
        name, term = operands[0]
        _transposed(writer, name, term, result, to=node.output[0])
        return True
    (left, a), (right, b) = operands
    batch = [c for c in a if c in b and c in result]
    inner = [c for c in a if c in b and c not in result]
    rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
    del others

    def sizes(letters: list[str]) -> int:
        return math.prod(size[c] for c in letters)

    left = _transposed(writer, left, a, "".join([*batch, *rows, *inner]))
    right = _transposed(writer, right, b, "".join([*batch, *inner, *columns]))
    left = writer("Reshape", left, writer.ints("left", [sizes(batch), sizes(rows), sizes(inner)]))
    right = writer("Reshape", right, writer.ints("right", [sizes(batch), sizes(inner), sizes(columns)]))
    product = writer("MatMul", left, right)
    made = [*batch, *rows, *columns]
    product = writer("Reshape", product, writer.ints("product", [size[c] for c in made]))
    _transposed(writer, product, "".join(made), result, to=node.output[0])
    return True


def _letters(equation: str, shapes: list[Shape]) -> tuple[list[str], str, dict[str, int]] | None:
    """Terms and result without dots, and the size of each letter; None for a diagonal or sizes that broadcast."""
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        return None
    ranks = [len(s) - len(t.replace("...", "")) for t, s in zip(terms, shapes, strict=True) if "..." in t]
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation][: max(ranks, default=0)]
    if len(free) < max(ranks, default=0):
        return None
    dots = "".join(free)
    for number, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        missing = len(shape) - len(term.replace("...", ""))
        terms[number] = term.replace("...", dots[len(dots) - missing :] if missing else "")
    if not arrow:
        joined = "".join(terms)
        result = dots + "".join(sorted(c for c in set(joined) - set(dots) if joined.count(c) == 1))
    result = result.replace("...", dots)
    size: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(set(term)) != len(term) or len(term) != len(shape):
            return None
        for letter, length in zip(term, shape, strict=True):
            if size.setdefault(letter, length) != length:
                return None
    return terms, result, size


def _summed(writer: Writer, name: str, axes: list[int]) -> str:
    if writer.editor.opset < 13:
        return writer("ReduceSum", name, axes=axes, keepdims=0)
    return writer("ReduceSum", name, writer.ints("axes", axes), keepdims=0)


def _transposed(writer: Writer, name: str, have: str, wanted: str, to: str = "") -> str:
    if have == wanted:
        return writer("Identity", name, to=to) if to else name
    return writer("Transpose", name, perm=[have.index(c) for c in wanted], to=to)


def determinant(writer: Writer) -> bool:
    """Det of matrices up to 4 x 4 by cofactors."""
    (x,) = writer.node.input
    shape = writer.editor.shape(x)
    if shape is None or len(shape) < 2 or not 1 <= shape[-1] <= _LARGEST_SIDE or shape[-1] != shape[-2]:
        return False
    side, rows = shape[-1], math.prod(shape[:-2])
    flat = writer("Reshape", x, writer.ints("flat", [rows, side * side]))
    cells = [flat]
    if side > 1:
        cells = writer.several("Split", flat, writer.ints("cells", [1] * side * side), to=[""] * side * side, axis=1)
    value = _cofactors(writer, [cells[i * side : (i + 1) * side] for i in range(side)])
    writer("Reshape", value, writer.ints("shape", shape[:-2]), to=writer.node.output[0])
    return writer.editor.opset >= 13 or side == 1


def _cofactors(writer: Writer, cells: list[list[str]]) -> str:
    if len(cells) == 1:
        return cells[0][0]
    total = ""
    for column, cell in enumerate(cells[0]):
        minor = _cofactors(writer, [[c for i, c in enumerate(row) if i != column] for row in cells[1:]])
        part = writer("Mul", cell, minor)
        total = part if not total else writer("Sub" if column % 2 else "Add", total, part)
    return total


def flat_batch(writer: Writer) -> bool:
    """BATCH_MATMUL takes five dimensions: further ones of a batch are joined, where no two of them broadcast."""
    node, editor = writer.node, writer.editor
    left, right, result = (editor.shape(n) for n in (*node.input, node.output[0]))
    if left is None or right is None or result is None or min(len(left), len(right)) < 2:
        return False
    if max(len(left), len(right)) <= _MOST_DIMENSIONS or math.prod(result) == 0:
        return False
    batches = [math.prod(shape[:-2]) for shape in (left, right)]
    whole = math.prod(result[:-2])
    if any(batch not in (1, whole) for batch in batches):
        return False
    operands = [
        writer("Reshape", name, writer.ints("rows", [*([batch] if batch > 1 else []), *shape[-2:]]))
        for name, shape, batch in zip(node.input, (left, right), batches, strict=True)
    ]
    product = writer("MatMul", *operands)
    writer("Reshape", product, writer.ints("product", result), to=node.output[0])
    return True


RULES: dict[str, tuple[Rule, ...]] = {"Einsum": (einsum,), "Det": (determinant,), "MatMul": (flat_batch,)}
