"""The golden self-test of an unpacked bundle in a process of its own: a crash there is a failed test, and no more."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

from multigraft.errors import BundleError, MultigraftError
from multigraft.reading import printable
from multigraft.runtime.backends import BackendName, load_backend
from multigraft.runtime.engine import Engine
from multigraft.runtime.frames import blank_frames
from multigraft.runtime.untrusted import MEMORY_BYTES

SECONDS = 120.0
"""For starting Python, loading and running the golden inputs."""


def prove(folder: Path, backend: BackendName = "auto", threads: int = 1, seconds: float = SECONDS) -> str:
    """Run a bundle's golden inputs and one blank frame in a child process.

    Args:
        folder: An unpacked bundle.
        backend: Which interpreter.
        threads: Threads for the kernels.
        seconds: Time limit.

    Returns:
        How the golden inputs came out, in words.

    Raises:
        BundleError: They are missed, or the child crashed or did not end in time.
        MissingDependencyError: The interpreter is not installed.
    """
    name = load_backend(backend).name
    # -P: a file called like a module in the working folder must not be imported instead of it.
    command = [sys.executable, "-P", "-m", "multigraft.runtime.deploy.proof", str(folder), name, str(threads)]
    remedy = "build the bundle again for this device"
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise BundleError(f"the bundle did not end its self-test here within {seconds:g} s", remedy) from None
    if ended.returncode < 0:
        raise BundleError(f"the bundle crashes {name} here ({signal.Signals(-ended.returncode).name})", remedy)
    if ended.returncode != 0:
        said = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        raise BundleError(f"the bundle fails its self-test here: {printable(said).rstrip('.')}", remedy)
    return printable((ended.stdout.strip().splitlines() or [""])[-1])


def _run(folder: str, backend: str, threads: int) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        engine = Engine(folder, threads, backend)  # type: ignore[arg-type]
        engine.run(blank_frames(engine.manifest))
    except MultigraftError as error:
        print(error.problem, file=sys.stderr)
        return MultigraftError.exit_code
    print(engine.self_test)
    return 0


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
