"""The golden self-test of an unpacked bundle in a process of its own: a crash there is a failed test, and no more."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from multigraft.errors import BundleError, MultigraftError
from multigraft.reading import printable
from multigraft.runtime.backends import BackendName, load_backend
from multigraft.runtime.child import IDLE_S, STEP_S, StuckError, begin_step, run_watched
from multigraft.runtime.engine import Engine
from multigraft.runtime.frames import blank_frames
from multigraft.runtime.self_test import run_self_test
from multigraft.runtime.untrusted import MEMORY_BYTES
from multigraft.tensors.arrays import Array


def prove(
    folder: Path, backend: BackendName = "auto", threads: int = 1, step_s: float = STEP_S, idle_s: float = IDLE_S
) -> str:
    """Run a bundle's golden inputs and one blank frame in a child process.

    It may take as long as a busy machine makes it take: processor time is limited, and how long it may do nothing.

    Args:
        folder: An unpacked bundle.
        backend: Which interpreter.
        threads: Threads for the kernels.
        step_s: Processor time of a thread for starting and loading, and for each run.
        idle_s: Seconds in which the child may do nothing.

    Returns:
        How the golden inputs came out, in words.

    Raises:
        BundleError: They are missed, or the child crashed or is stuck.
        MissingDependencyError: The interpreter is not installed.
    """
    name = load_backend(backend).name
    # -P: a file called like a module in the working folder must not be imported instead of it.
    command = [
        sys.executable,
        "-P",
        "-m",
        "multigraft.runtime.deploy.proof",
        str(folder),
        name,
        str(threads),
        str(step_s),
    ]
    remedy = "build the bundle again for this device"
    try:
        ended = run_watched(command, idle_s=idle_s)
    except StuckError as error:
        raise BundleError(f"the bundle does not end its self-test here: {error}", remedy) from None
    if ended.returncode < 0:
        raise BundleError(f"the bundle crashes {name} here ({signal.Signals(-ended.returncode).name})", remedy)
    if ended.returncode != 0:
        said = (ended.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        raise BundleError(f"the bundle fails its self-test here: {printable(said).rstrip('.')}", remedy)
    return printable((ended.stdout.decode(errors="replace").strip().splitlines() or [""])[-1])


def _run(folder: str, backend: str, threads: int, step_s: float) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    begin_step(threads, step_s)
    try:
        engine = Engine(folder, threads, backend, self_test=False)  # type: ignore[arg-type]

        def compute(inputs: Mapping[str, Array]) -> dict[str, Array]:
            begin_step(threads, step_s)
            return engine.compute(inputs)

        told: object
        try:
            told = run_self_test(engine.bundle, compute, engine.model.backend, engine.model.has_delegate())
        except BundleError as error:
            if (other := engine.bundle.fallback()) is None:
                raise
            engine = Engine(other, threads, backend, self_test=False)  # type: ignore[arg-type]
            told = run_self_test(other, compute, engine.model.backend, engine.model.has_delegate())
            told = f"{told}, by the fallback: {error}"
        if engine.fallback_reason is not None:
            told = f"{told}; {engine.fallback_reason}"
        begin_step(threads, step_s)
        engine.run(blank_frames(engine.manifest))
    except MultigraftError as error:
        print(error.problem, file=sys.stderr)
        return MultigraftError.exit_code
    print(told)
    return 0


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
