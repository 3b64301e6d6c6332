"""``docs/commands.md``: every command with its options, from the parsers themselves."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator

from multigraft.cli.main import COMMANDS, module_of

_INTRODUCTION = """# Commands

| command | what it does |
|---|---|
{table}

`--json` prints the result of any command as JSON, or as JSON lines. `--help` prints what stands here. What a command
returns to a script: [exit codes](exit-codes.md). What it reads from the surroundings:
[environment variables](environment.md).

An error is one sentence with what to do about it, and no output is left half-written. An interrupted `build` goes on
where it was when it is started again. Until it is done, `NAME.graft.steps/` keeps its finished steps.

This page is made from the commands: `python -m docs.pages`.
"""


def markdown() -> str:
    """The page."""
    table = "\n".join(f"| [`multigraft {name}`](#multigraft-{name}) | {text} |" for name, text in COMMANDS.items())
    lines = [_INTRODUCTION.format(table=table)]
    for name, summary in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"multigraft {name}", add_help=False)
        importlib.import_module(module_of(name)).add_arguments(parser)
        lines += _section(parser, summary, "##")
    return "\n".join(lines).rstrip("\n") + "\n"


def _section(parser: argparse.ArgumentParser, summary: str, mark: str) -> list[str]:
    lines = [f"{mark} {parser.prog}", "", f"{summary[0].upper()}{summary[1:].rstrip('.')}.", ""]
    rows, inner = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, child in action.choices.items():
                _complete(child)
                inner += _section(child, summaries.get(name, ""), f"{mark}#")
        elif action.dest not in ("json", "help"):
            rows.append(f"| {_spelling(action)} | {_cell(action.help or '')} |")
    if rows:
        lines += ["| argument | meaning |", "|---|---|", *rows, ""]
    return [*lines, *inner]


def _complete(parser: argparse.ArgumentParser) -> None:
    """Give a sub-command the arguments that it has only once it is asked for."""
    if all(action.dest == "help" for action in parser._actions):
        module = parser.prog.replace(" ", ".").replace("multigraft", "multigraft.cli", 1)
        importlib.import_module(module).add_arguments(parser)


def _spelling(action: argparse.Action) -> str:
    value = " ".join(_values(action))
    spelt = [f"{name} {value}".strip() for name in action.option_strings] or [value]
    text = "`, `".join(word.replace("|", "\\|") for word in spelt)
    return f"`{text}`" + (" (required)" if action.required and action.option_strings else "")


def _values(action: argparse.Action) -> Iterator[str]:
    if action.nargs == 0:
        return
    words = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
    for word in (words,) if isinstance(words, str) else words:
        name = word or (action.dest.upper() if action.option_strings else action.dest)
        yield f"{name} ..." if action.nargs in ("+", "*") else name


def _cell(text: str) -> str:
    """Help as Markdown: options and words in capitals are code there, angle brackets are no HTML."""
    escaped = text.replace("%%", "%").replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*")
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]*)", r"`\1`", escaped)
