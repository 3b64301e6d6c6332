"""``multigraft sign``: sign a bundle, or make a pair of keys, in minisign's format."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path

from multigraft.cli.shared.json_text import json_text
from multigraft.errors import UsageError
from multigraft.reading import read_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("bundle", nargs="?", type=Path, help="a .graft file; its signature is written beside it")
    parser.add_argument("--key", type=Path, metavar="FILE", help="sign with this secret key")
    parser.add_argument("--check", type=Path, metavar="FILE", help="check the signature with this public key")
    parser.add_argument("--new-key", type=Path, metavar="FILE", help="make a secret key there, and FILE.pub beside it")
    parser.add_argument("--no-password", action="store_true", help="the new key needs none: whoever has it can sign")


def execute(options: argparse.Namespace) -> int:
    """Print the path of what was written."""
    from multigraft.runtime.deploy.signatures import (
        LARGEST_GRAFT,
        LARGEST_KEY,
        check_signature,
        new_key,
        sign,
        signature_beside,
    )

    asked = [name for name in ("key", "check", "new_key") if getattr(options, name) is not None]
    if len(asked) > 1:
        both = " and ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise UsageError(f"{both} ask for different things", "give one at a time")
    if not asked and options.bundle is not None:
        raise UsageError(
            f"no key to sign {options.bundle} with",
            "name it with --key, or make one with --new-key; --check checks a signature",
        )
    if options.bundle is None and asked != ["new_key"]:
        raise UsageError("no bundle to sign or to check", "name a .graft file, or make a key with --new-key")
    if options.bundle is not None and options.new_key is not None:
        raise UsageError("--new-key makes a key and signs nothing", "leave the bundle out, then sign it with --key")
    if options.new_key is not None:
        public = new_key(options.new_key, None if options.no_password else _new_password())
        _print(options, f"{options.new_key} signs; copy {public} to whoever has to trust it", str(public))
    elif options.key is not None:
        path = sign(options.bundle, options.key, lambda: getpass.getpass("Password of the key: "))
        _print(options, f"wrote {path}", str(path))
    else:
        keys = {str(options.check): read_file(options.check, LARGEST_KEY)}
        data = read_file(options.bundle, LARGEST_GRAFT)
        check_signature(data, signature_beside(options.bundle), keys)
        _print(options, f"{options.bundle} is signed by {options.check}", str(options.check))
    return 0


def _new_password() -> str:
    password = getpass.getpass("Password of the new key: ")
    if not password or getpass.getpass("Once more: ") != password:
        raise UsageError("the passwords are empty or differ", "type one twice, or give --no-password")
    return password


def _print(options: argparse.Namespace, sentence: str, path: str) -> None:
    print(json_text({"path": path}) if options.json else sentence)
