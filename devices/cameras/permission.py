"""What to say of a file or a folder that may not be read."""

from __future__ import annotations

import stat
from pathlib import Path

from multigraft.errors import InputError


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for ``path``, with its permissions and the user id that owns it as far as they can be seen."""
    try:
        found = path.stat()
        shown = f" ({stat.filemode(found.st_mode)}, owned by user {found.st_uid})"
    except OSError:
        shown = ""
    return InputError(f"{path} cannot be read: {error.strerror}{shown}", "give yourself the right to read it")
