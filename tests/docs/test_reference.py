"""Environment variables, exit codes and words are written down where the code has them."""

from __future__ import annotations

import ast
import re

import pytest

from docs.pages.sources import DOCS, ROOT, trees
from multigraft import errors
from multigraft.cli.main import DEFECT, INTERRUPTED, main
from multigraft.runtime.service.serving import AGAIN

READERS = {"os.environ.get", "os.environ.setdefault", "os.getenv", "os.environ.pop"}


def _dotted(node: ast.expr) -> str:
    """``os.environ.get`` of such an expression, nothing of another: the unparser would take seconds for all calls."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def variables_read(tree: ast.Module) -> set[str]:
    """Environment variables that a file asks for; names of constants in it are followed."""
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    asked: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _dotted(node.func) in READERS:
            asked.append(node.args[0])
        elif isinstance(node, ast.Subscript) and _dotted(node.value) == "os.environ" and isinstance(node.ctx, ast.Load):
            asked.append(node.slice)
    return {
        str(constants.get(one.id, one.id) if isinstance(one, ast.Name) else getattr(one, "value", ast.unparse(one)))
        for one in asked
    }


def opentelemetry(tree: ast.Module) -> set[str]:
    """OpenTelemetry's variables, which are asked for by way of tables."""
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {text for text in texts if re.fullmatch(r"OTEL_[A-Z_]+", text)}


def test_every_environment_variable_is_described_and_none_besides() -> None:
    page = (DOCS / "environment.md").read_text("utf-8")
    everybody, developers = page.split("## For developers")
    rows = [set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)) for part in (everybody, developers)]
    ours = {name for _, tree in trees() for name in (*variables_read(tree), *opentelemetry(tree))}
    assert rows[0] == ours
    tests = [ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / "tests").rglob("*.py"))]
    assert rows[1] == {name for tree in tests for name in variables_read(tree)} - ours


def test_exit_codes_are_those_of_the_code() -> None:
    page = (DOCS / "exit-codes.md").read_text("utf-8")
    codes = {int(code) for code in re.findall(r"^\| `(\d+)` \|", page, re.MULTILINE)}
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MultigraftError)
    ]
    assert codes == {*returned_by_commands(), AGAIN, DEFECT, INTERRUPTED, *(kind.exit_code for kind in kinds)}


def returned_by_commands() -> set[int]:
    """The codes that commands return themselves, without an error."""
    functions = [
        node
        for path, tree in trees()
        if path.startswith("core/cli/")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name in ("execute", "_execute", "main")
    ]
    returns = [node.value for f in functions for node in ast.walk(f) if isinstance(node, ast.Return) and node.value]
    ends = [
        end for value in returns for end in ((value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,))
    ]
    return {end.value for end in ends if isinstance(end, ast.Constant) and isinstance(end.value, int)}


def test_a_wrong_option_ends_with_the_code_for_problems() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "--nothing"])
    assert caught.value.code == 2


def test_the_glossary_is_in_order_and_has_the_words_of_the_trade() -> None:
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE)
    words = [word for word, _ in rows]
    assert words == sorted(words, key=str.casefold)
    asked = "trunk, head, cut point, share point, tap, agreement, CKA, segment, exit, donor, refit, stitching layer, "
    asked += "scale, zero point, arena, bundle, statistics, independent, relative, signature, manifest, self-test"
    assert [word for word in asked.split(", ") if not any(word in known for known in words)] == []
    assert all(meaning.endswith(".") for _, meaning in rows)
