"""``--show``: the live page of what a command does."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import webbrowser
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.watched import Watched, digest_of_bundle
from multigraft.errors import UsageError

if TYPE_CHECKING:
    from multigraft.runtime import Engine, Result

Show = Callable[[dict[str, Any], "Result"], None]
"""Takes task to frame, and what was answered."""

LISTEN = "127.0.0.1:8080"


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """Add whether and where to show."""
    parser.add_argument("--show", action="store_true", help="show pictures, answers and times as a live page")
    parser.add_argument("--listen", default=LISTEN, metavar="ADDRESS:PORT", help=f"where (default: {LISTEN})")


@contextlib.contextmanager
def live_page(options: argparse.Namespace, engine: Engine, source: str, watched: Watched | None) -> Iterator[Show]:
    """What shows a frame, until the block is left; nothing is shown unless ``--show`` says so.

    Args:
        options: As parsed.
        engine: Whose answers are shown.
        source: What its frames come from.
        watched: Figures; needed if anything is shown.

    Raises:
        UsageError: The address cannot be listened at.
    """
    if not options.show or watched is None:
        if options.listen != LISTEN:
            raise UsageError("--listen says where to show, and nothing is to be shown", "add --show")
        yield lambda frames, result: None
        return
    from multigraft.runtime.deploy.store import state_folder
    from multigraft.runtime.service.front import Address, listen
    from multigraft.runtime.service.settings import token_of
    from multigraft.runtime.service.window import Window

    address = Address.parse(options.listen)
    token = token_of(address, state_folder())
    window = Window(
        listen(address),
        bundle={"name": engine.manifest.name, "sha256": digest_of_bundle(engine)},
        source=source,
        manifest=engine.manifest,
        figures=watched.figures,
        vitals=watched.vitals,
        requests=None,
        cameras=list,
        token=token,
        say=lambda sentence: print(f"multigraft: {sentence}", file=sys.stderr),
    )

    url = f"http://{address}/" + (f"?token={token}" if token else "")
    print(f"multigraft: live page: {url}", file=sys.stderr)
    with window:
        if not token and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            webbrowser.open(url)
        yield window.show
