"""The process that atheris runs in; what it finds goes into a file, a line each, and fuzzing goes on.

python -m tests.attack.fuzzing.worker TARGET FINDINGS PROGRAM [options of libFuzzer]

PROGRAM is what libFuzzer starts again when it merges, with its options alone.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

import atheris


def main() -> None:
    name, findings = sys.argv[1], Path(sys.argv[2])
    with atheris.instrument_imports(include=["multigraft", "zipfile", "tomllib", "PIL"]):
        from tests.attack.fuzzing.targets import target

        reader = target(name)
    from multigraft.errors import MultigraftError

    known: set[str] = set()

    def once(data: bytes) -> None:
        try:
            reader.run(data)
        except MultigraftError:
            return
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {place.filename.rpartition('/')[2]}:{place.lineno}"
            if where in known:
                return
            known.add(where)
            with findings.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"where": where, "text": str(error)[:200], "input": data.hex()}) + "\n")

    atheris.Setup(sys.argv[3:], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
