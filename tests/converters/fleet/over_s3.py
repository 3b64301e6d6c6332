"""Started by a test: files in an S3 whose reads fail, added up by the command, which is killed meanwhile."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from tests.converters.fleet.s3_server import environment, failing, put, serving


def main() -> None:
    folder = Path(sys.argv[1])
    with serving() as port:
        put(port, ((f"2026-11/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())))
        os.environ.update(environment(port))
        local = _combine(str(folder), "local.mgstats", folder)
        assert _combine("s3://fleet/2026-11/*.mgstats", "s3.mgstats", folder) == local
        with failing(port, 10, 3) as (door, counts):
            os.environ.update(environment(door))
            command = _command("s3://fleet/2026-11/", "killed.mgstats")
            for seconds in (1.5, random.Random(2).uniform(1, 4)):
                process = subprocess.Popen(command, cwd=folder.parent, stdout=subprocess.DEVNULL)
                try:
                    process.wait(seconds)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            assert _combine("s3://fleet/2026-11/", "killed.mgstats", folder) == local
            # What is written there is read there, and a build takes it from there.
            subprocess.run(_command("s3://fleet/2026-11/", "s3://fleet/out/sum.mgstats"), cwd=folder.parent, check=True)
            from multigraft.converters.field.statistics_input import StatisticsInput

            given = StatisticsInput.open("s3://fleet/out/sum.mgstats")
            assert given.name == "sum.mgstats" and given.statistics.frames == 96 * len(list(folder.iterdir()))
        assert counts[1] > 0, counts
    print(f"{counts[1]} of {sum(counts)} reads failed and the same came out")


def _command(source: str, output: str) -> list[str]:
    return [sys.executable, "-m", "multigraft", "calibrate", "combine", source, "-o", output]


def _combine(source: str, output: str, folder: Path) -> bytes:
    subprocess.run(_command(source, output), cwd=folder.parent, check=True, stdout=subprocess.DEVNULL)
    return (folder.parent / output).read_bytes()


if __name__ == "__main__":
    main()
