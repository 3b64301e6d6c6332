"""Entry point of the ``multigraft`` command."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

import multigraft
from multigraft.errors import ConfigurationError, MissingDependencyError, MultigraftError
from multigraft.installing import failed_import, how_missing, install_extra, install_package, repair
from multigraft.plain_streams import OutputError, plain_streams
from multigraft.reading import printable
from multigraft.visible import visible

COMMANDS = {
    "build": "graft, convert and pack the networks of a settings file into a bundle",
    "check": "say what a network is and whether it can be built, without frames",
    "graft": "graft the networks and write the multi-task ONNX model",
    "convert": "convert a grafted model to a .tflite bundle",
    "export-tail": "write what a server loads to answer a task from a cut point on, for Triton and KServe",
    "inspect": "show what a bundle holds",
    "run": "answer tasks on frames, as JSON lines",
    "serve": "answer for as long as the machine runs, and show it over HTTP",
    "service": "put multigraft serve under systemd, look at it there, take it out",
    "eval": "measure accuracy on labelled frames, beside the original networks",
    "bench": "measure latency and memory of a bundle",
    "sign": "sign a bundle, or make keys to sign with",
    "deploy": "let a bundle be served here or on other machines, once it has passed its self-test there",
    "rollback": "let the bundle before be served again, here or on other machines",
    "exits": "list early exits that an audit closed, here or on other machines, and open them",
    "energy": "measure joules per frame, part and task, with an error bound",
    "calibrate": "collect statistics on a device, without labels and without keeping frames, and use them",
    "study": "correlate similarity and agreement with accuracy over all share points",
    "doctor": "say what this machine has, what is missing, and what to type",
    "demo": "run the whole job on the networks that ship with multigraft",
    "firmware": "generate C firmware for a microcontroller, and report what it costs",
    "devices": "list serial ports with the boards on them, or the boards there are",
    "flash": "write a firmware project's image into its board",
    "monitor": "show live answers, cycles and memory of a device",
    "learn": "say what frames are, and let a device solve its last layer anew",
    "setup-onnx2tf": "make the converter's own environment now, so that later work needs no network",
}
"""Command to one-line help."""

INTERRUPTED = 130
DEFECT = 70
"""EX_SOFTWARE of sysexits.h."""
COMPLETING = "_ARGCOMPLETE"
"""Set by a shell that asks what may follow: ``eval "$(register-python-argcomplete multigraft)"``."""

SERVICE = ("NOTIFY_SOCKET", "INVOCATION_ID")
"""What systemd gives the services that it starts (systemd.exec(5))."""

_SERVING = ("serve", "service", "sign", "deploy", "rollback", "exits")


def module_of(command: str) -> str:
    """The module of a command."""
    room = "serving." if command in _SERVING else ""
    return f"multigraft.cli.{room}{command.replace('-', '_')}"


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="multigraft", description=multigraft.__doc__)
    parser.add_argument("--version", action="version", version=f"multigraft {multigraft.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    words = os.environ.get("COMP_LINE", "").split()[1:] if COMPLETING in os.environ else argv
    asked = next((word for word in words if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == asked:
            module = importlib.import_module(module_of(name))
            module.add_arguments(command)
            command.add_argument("--json", action="store_true", help="print the result as JSON")
            command.set_defaults(execute=module.execute)
    return parser


def _execute(argv: Sequence[str]) -> int:
    parser = _parser(argv)
    if COMPLETING in os.environ:
        importlib.import_module("argcomplete").autocomplete(parser)
    try:
        options = parser.parse_args(argv)
    except SystemExit as end:
        # A unit that was edited by hand: systemd starts again what ends with 2, and does not what ends with 78.
        if end.code and argv[:1] == ["serve"] and any(name in os.environ for name in SERVICE):
            raise SystemExit(ConfigurationError.exit_code) from None
        raise
    try:
        code: int = options.execute(options)
    except Exception as error:
        package = failed_import(error)
        if isinstance(error, MultigraftError) or package is None:
            raise
        raise MissingDependencyError(
            f"multigraft {options.command} needs {package}, which is {how_missing(error)}",
            repair(error, install_package("numpy", anew=True) if package == "numpy" else install_extra("convert")),
        ) from error
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Parse ``argv`` and run one command.

    Returns:
        The exit code: 0, 1 a check that fails, 2 usage, 3 budget, 70 a defect of multigraft, 78 configuration,
        130 interrupted.
    """
    with plain_streams():
        try:
            try:
                code = _answered(sys.argv[1:] if argv is None else argv)
            finally:
                # argparse ends with SystemExit once it has printed help.
                sys.stdout.flush()
        except OutputError as error:
            if error.errno == errno.EPIPE:
                # Whoever read it has seen enough.
                return 0
            why = f"standard output cannot be written ({error.strerror})"
            print(f"multigraft: {why}; check the space on its disk, or where it leads.", file=sys.stderr)
            return MultigraftError.exit_code
        return code


def _answered(argv: Sequence[str]) -> int:
    """The exit code of one command; what it raises is printed as one sentence."""
    with _interrupts() as came:
        try:
            return _execute(argv)
        except OutputError:
            raise
        except KeyboardInterrupt:
            return _interrupted()
        except Exception as error:
            # Libraries put exceptions of their own in the place of one that they did not expect. What is ours or the
            # system's may be news: answers up to an interrupt that found no space, for instance.
            if came and not isinstance(error, MultigraftError | OSError):
                return _interrupted()
            code = _failed(error)
            return _interrupted() if came else code


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect SIGINT, and raise KeyboardInterrupt as Python does by itself."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.default_int_handler(number, frame)

    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    # Handlers can be set in the main thread only.
    if not is_default or threading.current_thread() is not threading.main_thread():
        yield came
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted() -> int:
    print("multigraft: interrupted; nothing was left half-written.", file=sys.stderr)
    return INTERRUPTED


def _failed(error: Exception) -> int:
    if os.environ.get("MULTIGRAFT_DEBUG") == "1":
        raise error
    said = str(error) if isinstance(error, MultigraftError) else _unforeseen(error)
    print(f"multigraft: {visible(said)}", file=sys.stderr)
    if isinstance(error, MultigraftError):
        return error.exit_code
    return MultigraftError.exit_code if isinstance(error, OSError | MemoryError) else DEFECT


def _unforeseen(error: Exception) -> str:
    """One sentence for what no command foresaw."""
    said = printable(str(error).strip().partition("\n")[0].rstrip(".")) or "no reason given"
    if isinstance(error, OSError):
        where = f"{printable(str(error.filename))} cannot be read or written" if error.filename else "a file failed"
        return f"{where} ({error.strerror or said}); check the path, its permissions and the space on its disk."
    if isinstance(error, MemoryError):
        return f"the memory does not suffice ({said}); give a smaller network or fewer frames, or a larger machine."
    return (
        f"{type(error).__name__}: {said}; this is a defect of multigraft, please report it with what the same command "
        "says after MULTIGRAFT_DEBUG=1."
    )


if __name__ == "__main__":
    sys.exit(main())
