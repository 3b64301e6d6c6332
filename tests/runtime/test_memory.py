"""Memory is that of a fresh process, and a system that does not tell it is named."""

from __future__ import annotations

import mmap
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from multigraft.errors import DeviceError, InputError
from multigraft.runtime.backends import BackendName
from multigraft.runtime.engine import Engine
from multigraft.runtime.memory import (
    let_go_of_code,
    let_go_of_file,
    library_kib,
    measure_bundle,
    measure_models,
    pss_kib,
)
from multigraft.tflite.checking.check import check_tflite
from tests.bundle_builder import build
from tests.tflite_builder import Graph, serialise


def test_pss_of_a_process_counts_what_it_holds() -> None:
    # A process of its own: the test runner may give back memory of earlier tests between the two readings.
    script = (
        "from multigraft.runtime.memory import pss_kib; before = pss_kib(); block = b'x' * (64 << 20);"
        "print(pss_kib() - before)"
    )
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(grown.stdout) > 48 << 10


def test_a_system_that_does_not_tell_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="not readable"):
        pss_kib(tmp_path / "gone")
    (tmp_path / "rollup").write_text("Rss: 12 kB\n")
    with pytest.raises(DeviceError, match="no Pss line"):
        pss_kib(tmp_path / "rollup")


def test_a_fresh_process_measures_bundle_and_models(backend: BackendName, tmp_path: Path) -> None:
    built = build(backend=backend)
    path = built.bundle.write(tmp_path / "home.graft")
    models = []
    for task, data in built.separate.items():
        models.append(tmp_path / f"{task}.tflite")
        models[-1].write_bytes(data)
    apart = (measure_models(models, backend), measure_models(models, backend, lets_go=True))
    for used in (measure_bundle(path, backend), *apart):
        assert 0 < used.imported_kib < used.loaded_kib <= used.peak_kib
        assert used.to_json()["added_kib"] == used.added_kib > 0


def test_what_goes_wrong_in_the_fresh_process_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "bad.tflite").write_text("this is not a model")
    with pytest.raises(InputError, match=r"bad\.tflite is not a \.tflite file"):
        measure_models([tmp_path / "bad.tflite"])


def test_code_is_let_go_unless_it_was_written_to(tmp_path: Path) -> None:
    assert let_go_of_code(tmp_path / "no such list") == 0
    script = (
        "import re; from multigraft.runtime.memory import let_go_of_code\n"
        "def code():\n"
        "    parts = re.split(r'^(?=[0-9a-f]+-[0-9a-f]+ )', open('/proc/self/smaps').read(), flags=re.M)\n"
        "    mapped = [part for part in parts if re.match(r'\\S+ r-xp .* /', part)]\n"
        "    return sum(int(re.search(r'Rss: +(\\d+)', part)[1]) for part in mapped)\n"
        "import numpy; numpy.ones((9, 9)) @ numpy.ones((9, 9)); before = code()\n"
        "print(let_go_of_code() > 0, before > 2 * code(), (numpy.ones((2, 3)) @ numpy.ones((3, 2))).sum())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "12.0"]
    patched = tmp_path / "smaps"
    patched.write_text("1000-2000 r-xp 00000000 00:01 7    /lib/patched.so\nRss: 4 kB\nAnonymous: 4 kB\n")
    assert let_go_of_code(patched) == 0


def test_libraries_are_told_apart_from_what_is_written_read_and_made(tmp_path: Path) -> None:
    assert library_kib(tmp_path / "no such list") == 0
    told = tmp_path / "smaps"
    mapped = {
        "r--p 0 00:01 7    /lib/a.so": (1, 0),  # its constants come before its code
        "r-xp 0 00:01 7    /lib/a.so": (2, 0),
        "rw-p 0 00:01 7    /lib/a.so": (4, 3),
        "r--s 0 00:01 8    /a/model.tflite": (8, 0),
        "r-xp 0 00:00 0    [vdso]": (16, 0),
        "rw-p 0 00:00 0 ": (32, 32),
    }
    told.write_text(
        "".join(f"1000-2000 {of}\nPss: {pss} kB\nAnonymous: {own} kB\n" for of, (pss, own) in mapped.items())
    )
    assert library_kib(told) == 1 + 2 + 4 - 3


def test_what_other_processes_load_meanwhile_changes_nothing(tmp_path: Path) -> None:
    # A library of which each process has all: what one of four is charged for it is a quarter.
    library = tmp_path / "lib.so"
    library.write_bytes(bytes(16 << 20))
    held = (
        "import mmap, sys; file = open(sys.argv[1], 'rb')\n"
        "code = mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)\n"
        "constants = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ); sum(constants[::4096])\n"
    )
    reading = (
        "from multigraft.runtime.memory import library_kib, pss_kib\n"
        "for _ in range(2): print(pss_kib(), library_kib(), flush=True); input()\n"
    )

    def start(script: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", held + script, str(library)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline()

    with start(reading) as asked:
        first = [int(kib) for kib in line(asked).split()]
        others = [start("print('ready', flush=True); input()") for _ in range(3)]
        assert [line(other) for other in others] == ["ready\n"] * 3
        assert asked.stdin is not None
        asked.stdin.write("\n")
        asked.stdin.flush()
        second = [int(kib) for kib in line(asked).split()]
        for process in (asked, *others):
            process.communicate("\n")
    assert first[0] - second[0] > 11 << 10
    assert abs((first[0] - first[1]) - (second[0] - second[1])) < 512


def test_looking_at_what_is_mapped_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    # Python keeps the memory that its objects took: in every process that runs a bundle, for good.
    told = tmp_path / "smaps"
    told.write_text("1000-2000 rw-p 0 00:00 0    /lib/a.so\nSize: 4 kB\nPss: 3 kB\nVmFlags: rd wr\n" * 20_000)
    tracemalloc.start()
    kib, released = library_kib(told), let_go_of_file(tmp_path / "b.so", told)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (kib, released) == (0, 0)
    assert peak < 256 << 10


def test_a_deployed_bundle_keeps_no_page_of_its_model_and_answers_the_same(
    backend: BackendName, tmp_path: Path
) -> None:
    bundle = build(backend=backend).bundle
    path, folder = bundle.write(tmp_path / "home.graft"), bundle.deploy(tmp_path / "home")
    frame = np.random.default_rng(2).integers(0, 256, (28, 28), np.uint8)
    script = (
        "import re, sys\n"
        "from multigraft.runtime.engine import Engine\n"
        "engine = Engine(sys.argv[1], backend=sys.argv[2])\n"
        "parts = re.split(r'^(?=[0-9a-f]+-[0-9a-f]+ )', open('/proc/self/smaps').read(), flags=re.M)\n"
        "mapped = [part for part in parts if part.split('\\n')[0].endswith('model.tflite')]\n"
        "print(len(mapped), sum(int(re.search(r'Rss: +(\\d+)', part)[1]) for part in mapped))"
    )
    command = [sys.executable, "-c", script, str(folder), backend]
    mapped, resident = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert (int(mapped) > 0, int(resident)) == (True, 0)
    wanted = Engine(path, backend=backend).run(frame).answers
    engine = Engine(folder, backend=backend)
    for _ in range(3):
        answers = engine.run(frame).answers
        assert [answer.to_json() for answer in answers.values()] == [answer.to_json() for answer in wanted.values()]


def test_only_the_named_file_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "a file"
    path.write_bytes(b"x" * 8192)
    assert let_go_of_file(path) == 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[:2] == b"xx"
        assert let_go_of_file(path) == 8192
        assert mapped[4096:] == b"x" * 4096
        assert let_go_of_file(tmp_path / "another") == 0
        assert let_go_of_file(path, tmp_path / "no such list") == 0


def test_the_check_of_a_file_keeps_no_number_of_pythons_for_each_scale() -> None:
    # Python keeps the memory that its numbers took: in a service, for good.
    graph, channels = Graph(seed=1), 20_000
    graph.conv("wide", graph.input("image", (1, 2, 2, 1)), channels, kernel=1)
    data = serialise(graph, {"main": ["wide"]}, ["wide"])
    tracemalloc.start()
    check_tflite(data, "wide")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Of weights and biases alike: 29 bytes a scale, and 57 where each is a number of Python's.
    assert peak < 2 * channels * 44
