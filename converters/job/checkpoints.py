"""What a long job has finished so far, on disk, so that the same command goes on where it was interrupted.

A step is known by the digest of everything it depends on, this package's code included: what no longer fits is done
again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from multigraft import files
from multigraft.errors import UsageError

_DIGEST_BYTES = 32

CODE_FOLDERS = (Path(files.__file__).parent, Path(__file__).parents[1])
"""``core`` and ``converters``; installed, the first holds every other package, too."""


class Checkpoints:
    """Finished steps in one folder, made when the first is stored.

    Args:
        folder: Beside what the job makes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reused = 0
        """How many steps were read instead of done."""

    def get(self, name: str, depends_on: Iterable[bytes | str], do: Callable[[], bytes]) -> bytes:
        """The stored result of a step, or else that of ``do``, which is stored.

        A result that was damaged on disk is done again; one that cannot be stored (a full disk) is returned all the
        same.

        Args:
            name: What kind of step it is.
            depends_on: Everything that decides its result.
            do: Does it.
        """
        key = hashlib.sha256(code_digest(CODE_FOLDERS))
        for part in depends_on:
            data = part.encode() if isinstance(part, str) else part
            key.update(len(data).to_bytes(8, "little") + data)
        path = self.folder / f"{name}-{key.hexdigest()[:32]}"
        if (stored := _read(path)) is not None:
            self.reused += 1
            return stored
        made = do()
        with contextlib.suppress(OSError, UsageError):
            self.folder.mkdir(exist_ok=True)
            files.write_bytes(path, hashlib.sha256(made).digest() + made)
        return made

    @contextlib.contextmanager
    def cleared_after(self, *refusals: type[Exception]) -> Iterator[None]:
        """Remove the folder once the block is done or has refused its input; an interruption keeps it."""
        try:
            yield
        except refusals:
            self.clear()
            raise
        self.clear()

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None


@functools.cache
def code_digest(folders: tuple[Path, ...]) -> bytes:
    """SHA-256 of all Python files of these folders and below, in the order of their paths."""
    digest = hashlib.sha256()
    for path in sorted({path for folder in folders for path in folder.rglob("*.py")}):
        digest.update(path.read_bytes())
    return digest.digest()
