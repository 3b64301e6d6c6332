"""Every sentence that multigraft's errors can say, read from the calls that make them.

An error is ``SomeError(problem, remedy)``. Both are literals, or names of literals: those are followed through local
variables, constants, defaults and tables. What is only known when the program runs stands as ‹name›.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from docs.pages.sources import trees

_BASE = "MultigraftError"
_SETTING = "‹settings file: key› "
"""What ``Place.fail`` puts before the problem."""
_NEAREST = "choose from: ‹names›"
"""What ``nearest(...)`` gives, or the one name that was probably meant."""
_SPOKEN = {
    "error": "reason",
    "cause": "reason",
    "strerror": "reason",
    "expects": "what it accepts",
    "overflow": "what the linker says",
}
_MOST_WAYS = 12

Meanings = dict[str, list[ast.expr]]


@dataclass(frozen=True, order=True)
class Sentence:
    """One error: where it is raised, its class, and its two halves."""

    path: str
    kind: str
    problem: str
    remedy: str


@dataclass
class _Scope:
    """Names of a file and of one function in it, to the expressions they may stand for."""

    module: Meanings
    function: Meanings = field(default_factory=dict)
    defaults: Meanings = field(default_factory=dict)
    unfollowed: frozenset[str] = frozenset()
    """Names in both halves: what they mean in one has to be what they mean in the other, so they stay names."""

    def meanings(self, name: str) -> list[ast.expr]:
        if name in self.unfollowed:
            return []
        return self.function.get(name) or self.module.get(name) or []


@functools.cache
def sentences() -> tuple[Sentence, ...]:
    """All of them, each once per file, by path."""
    files = list(trees())
    kinds = _error_classes(tree for _, tree in files)
    return tuple(sorted({sentence for path, tree in files for sentence in _of_file(path, tree, kinds)}))


def _error_classes(files: Iterator[ast.Module]) -> set[str]:
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for tree in files
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {_BASE}
    while more := {name for name, parents in bases.items() if parents & known} - known:
        known |= more
    return known


def _of_file(path: str, tree: ast.Module, kinds: set[str]) -> Iterator[Sentence]:
    module = _assignments(tree.body, inner_too=False)
    for node, function in _calls(tree, None):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        is_setting = name == "fail" and len(node.args) == 2
        if (name in kinds and node.args) or is_setting:
            scope = _scope(module, function, node.args)
            kind, before = ("ConfigurationError", _SETTING) if is_setting else (name, "")
            yield from _halves(path, kind, before, node.args, scope)


def _calls(node: ast.AST, function: ast.FunctionDef | None) -> Iterator[tuple[ast.Call, ast.FunctionDef | None]]:
    for child in ast.iter_child_nodes(node):
        inner = child if isinstance(child, ast.FunctionDef) else function
        if isinstance(child, ast.Call):
            yield child, inner
        yield from _calls(child, inner)


def _assignments(body: list[ast.stmt], inner_too: bool = True) -> Meanings:
    meanings: Meanings = {}
    for statement in body:
        if not inner_too and isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    _assign(target, node.value, meanings)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                _assign(node.target, node.value, meanings)
    return meanings


def _assign(target: ast.expr, value: ast.expr, meanings: Meanings) -> None:
    if isinstance(target, ast.Name):
        meanings.setdefault(target.id, []).append(value)
    elif isinstance(target, ast.Tuple):
        parts = value.elts if isinstance(value, ast.Tuple) else [value] * len(target.elts)
        for one, part in zip(target.elts, parts, strict=True):
            _assign(one, part, meanings)


def _scope(module: Meanings, function: ast.FunctionDef | None, given: list[ast.expr]) -> _Scope:
    if function is None:
        return _Scope(module)
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: Meanings = {}
    for argument, default in zip(positional[::-1], arguments.defaults[::-1], strict=False):
        defaults[argument.arg] = [default]
    names = [{n.id for n in ast.walk(half) if isinstance(n, ast.Name)} for half in given]
    return _Scope(
        module, _assignments(function.body), defaults, frozenset(set.intersection(*names) if len(names) > 1 else ())
    )


def _halves(path: str, kind: str, before: str, given: list[ast.expr], scope: _Scope) -> Iterator[Sentence]:
    pairs = _table(given, scope)
    for problem, remedy in pairs or itertools.product(
        _texts(given[0], scope), _texts(given[1], scope) if len(given) > 1 else [""]
    ):
        is_passed_on = remedy == "‹remedy›" and "‹problem›" in problem
        if _says_something(problem + remedy) and not is_passed_on and " ()" not in problem:
            yield Sentence(path, kind, before + problem, remedy)


def _says_something(text: str) -> bool:
    return re.search(r"[A-Za-z]{2}", re.sub("‹.*?›", "", text)) is not None


def _table(given: list[ast.expr], scope: _Scope) -> list[tuple[str, str]]:
    """Where ``problem, remedy = TABLE[key]`` names both halves: the problem with every row of the table."""
    if len(given) < 2 or not isinstance(given[1], ast.Name):
        return []
    looked_up = [v for v in scope.function.get(given[1].id, []) if isinstance(v, ast.Subscript)]
    rows = [row for value in looked_up for row in _rows(value.value, scope)]
    return [
        (problem.replace(f"‹{_spoken('problem')}›", texts[0]), texts[1])
        for problem in _texts(given[0], _Scope(scope.module))
        for texts in rows
    ]


def _rows(table: ast.expr, scope: _Scope) -> list[tuple[str, str]]:
    rows, seen = [], {""}
    waiting: list[ast.AST] = [table]
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Tuple) and len(node.elts) == 2:
                first, second = node.elts
                if all(isinstance(n, ast.Constant | ast.BinOp | ast.JoinedStr) for n in node.elts):
                    rows.append((_texts(first, scope)[0], _texts(second, scope)[0]))
            elif isinstance(node, ast.Name) and node.id not in seen:
                seen.add(node.id)
                waiting += scope.module.get(node.id, [])
    return rows


def _installing(call: ast.Call) -> str:
    """What a function of :mod:`multigraft.installing` answers, or nothing."""
    given = [str(a.value) if isinstance(a, ast.Constant) else _placeholder(a) for a in call.args]
    match getattr(call.func, "id", ""), given:
        case "install_extra", [extra]:
            return f"run: ‹python› -m pip install 'multigraft[{extra}]'"
        case "install_package", [requirement]:
            return f"run: ‹python› -m pip install '{requirement}'"
        case "show_system_packages", []:
            return "run: python3 -m venv --system-site-packages ‹environment›"
        case "install_demo", []:
            return "run: ‹python› -m pip install packaging/demo"
    return ""


def _texts(node: ast.expr, scope: _Scope, depth: int = 0) -> list[str]:
    """What an expression may say; more than one where it depends."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        parts = [_texts(part, scope, depth) for part in node.values]
        return ["".join(words) for words in itertools.islice(itertools.product(*parts), _MOST_WAYS)]
    if isinstance(node, ast.FormattedValue):
        inner = node.value
        if isinstance(inner, ast.Call) and (command := _installing(inner)):
            return [command]
        follow = isinstance(inner, ast.IfExp) or (
            isinstance(inner, ast.Name) and any(_is_text(v) for v in scope.meanings(inner.id))
        )
        return _texts(inner, scope, depth + 1) if follow and depth < 3 else [_placeholder(inner)]
    if isinstance(node, ast.Call) and (command := _installing(node)):
        return [command]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "repair":
        return _texts(node.args[1], scope, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [a + b for a in _texts(node.left, scope, depth) for b in _texts(node.right, scope, depth)]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, scope, depth), *_texts(node.orelse, scope, depth)]
    if isinstance(node, ast.Name) and depth < 3:
        meanings = scope.meanings(node.id) or (scope.defaults.get(node.id, []) if depth == 0 else [])
        texts = [t for v in meanings if _is_text(v) for t in _texts(v, scope, depth + 1)]
        return list(dict.fromkeys(texts)) or [_placeholder(node)]
    return [_placeholder(node)]


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) and _is_text(node.orelse)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add) and (_is_text(node.left) or _is_text(node.right))
    return isinstance(node, ast.JoinedStr)


def _placeholder(node: ast.expr) -> str:
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "nearest":
        return _NEAREST
    return f"‹{_spoken(_name(node))}›"


def _spoken(name: str) -> str:
    return _SPOKEN.get(name, name.strip("_").replace("_", " ").lower())


def _name(node: ast.AST) -> str:
    """The noun in an expression: ``', '.join(sorted(names))`` is about names, ``task.name`` about a task."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _name(node.value)
        return owner if node.attr in ("name", "value") and owner not in ("self", "cls", "") else node.attr
    if isinstance(node, ast.Call):
        if node.args and not (isinstance(node.args[0], ast.Constant) and isinstance(node.func, ast.Attribute)):
            inner = _name(node.args[0])
            return f"number of {inner}" if getattr(node.func, "id", "") == "len" else inner
        return _name(node.func.value) if isinstance(node.func, ast.Attribute) else _name(node.func)
    if isinstance(node, ast.Constant):
        return "value"
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr) and (name := _name(child)):
            return name
    return "value"
