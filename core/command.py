"""The ``multigraft`` command from its first instant on.

Until :mod:`multigraft.cli.main` is loaded nobody answers an interruption, and nothing has been begun: the process ends
as any other does, by the signal and without a word.
"""

from __future__ import annotations

import signal


def main() -> int:
    """Run the command with the arguments of this process.

    Returns:
        The exit code of :func:`multigraft.cli.main.main`.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from multigraft.cli.main import main as run

    signal.signal(signal.SIGINT, before)
    return run()
