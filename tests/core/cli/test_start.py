"""What a command loads: asking for a version or for help needs no numpy, which takes longer than all the rest."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from multigraft.cli.calibrate import STEPS
from multigraft.cli.main import COMMANDS

SHOWN = [*COMMANDS, *(f"calibrate {step}" for step in STEPS)]


def loaded(program: str) -> set[str]:
    """Top names of the modules that a fresh Python has loaded after ``program``."""
    tops = "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    lines = ["import json, sys", program, tops]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def loaded_by(arguments: str) -> set[str]:
    """The same for a command line that prints and leaves."""
    call = f"from multigraft.cli.main import main\ntry:\n    main({arguments.split()!r})\nexcept SystemExit as left:"
    return loaded(f"{call}\n    assert left.code == 0, left.code\nelse:\n    raise AssertionError('it did not leave')")


def test_importing_the_package_loads_no_numpy_until_a_bundle_is_asked_for() -> None:
    assert "numpy" not in loaded("import multigraft; multigraft.__version__")
    assert "numpy" in loaded("import multigraft; multigraft.Bundle")


@pytest.mark.parametrize("arguments", ["--version", "--help", *(f"{name} --help" for name in SHOWN)])
def test_version_and_help_load_no_numpy(arguments: str) -> None:
    assert "numpy" not in loaded_by(arguments)


def test_the_module_runs_like_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "multigraft", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("multigraft ")


@pytest.mark.parametrize(
    ("step", "reads", "writes"), [("collect", "mgtaps", "mgstats"), ("refit", "mgplan", "mgrefit")]
)
def test_collecting_and_refitting_set_one_thread_for_blas_before_numpy_reads_it(
    step: str, reads: str, writes: str
) -> None:
    program = (
        "import os\n"
        "os.environ.pop('OPENBLAS_NUM_THREADS', None)\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numpy':\n"
        "            print('numpy with', os.environ.get('OPENBLAS_NUM_THREADS'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "from multigraft.cli.main import main\n"
        "try:\n"
        f"    main(['calibrate', '{step}', 'no.{reads}', '--source', 'camera', '-o', 'no.{writes}'])\n"
        "except SystemExit:\n"
        "    pass"
    )
    done = subprocess.run([sys.executable, "-c", f"import sys\n{program}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "numpy with 1"


def test_an_interruption_while_the_command_loads_ends_it_without_a_word() -> None:
    # The loader of the command's module is the moment; what is interrupted there has begun nothing.
    program = (
        "import os, signal, sys\n"
        # Who starts the tests in the background has it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'multigraft.cli.main':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Watch())\n"
        "from multigraft.command import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
