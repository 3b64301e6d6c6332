"""Why an installed package cannot be imported, from what its import raised: causes that are known, as a table.

A package that is there and broken says so in the words of a linker or of a compiled module. What helps then is not to
install it again the same way.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Literal

Kind = Literal["numpy", "library", "newer system", "reinstall", "needs", "name taken"]

_RULES: tuple[tuple[str, Kind, str], ...] = (
    (r"numpy\.\w+ size changed", "numpy", ""),
    (r"compiled using NumPy 1\.x|_ARRAY_API not found|numpy\.core\.multiarray failed to import", "numpy", ""),
    (r"module compiled against (?:ABI|API) version", "numpy", ""),
    (r"version [`'](GLIBC_[\d.]+|GLIBCXX_[\d.]+)' not found", "newer system", r"\1"),
    (r"([\w.+-]+\.so[\w.]*): (?:invalid ELF header|wrong ELF class|file too short)", "reinstall", r"\1"),
    (r"([\w.+-]+\.so[\w.]*): cannot open shared object file: No such file", "library", r"\1"),
    (r"undefined symbol: (\w+)", "reinstall", r"\1"),
    (r"partially initialized module '([\w.]+)'", "name taken", r"\1"),
    (r"cannot import name '(_\w+)' from", "reinstall", r"\1"),
)
"""Pattern in the message, what is wrong, and which part of the message tells more; the first that fits counts."""

LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6",
    "libopenblas.so.0": "libopenblas0",
    "libcblas.so.3": "libatlas3-base",
    "libopenjp2.so.7": "libopenjp2-7",
    "libtiff.so.6": "libtiff6",
    "libxcb.so.1": "libxcb1",
    "liblcms2.so.2": "liblcms2-2",
    "libwebp.so.7": "libwebp7",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
}
"""Library to the package of Debian and Raspberry Pi OS (bookworm, trixie) that holds it."""


@dataclass(frozen=True)
class Fault:
    """What is known of a package that cannot be imported.

    Attributes:
        kind: Of numpy, built for another one; of a library of the system that is missing; of a newer system than this;
            of a copy that is incomplete or meant for another processor or Python; of a package that needs another one;
            of a file of the user that is called like it.
        detail: The library, version, symbol or package that the message names.
    """

    kind: Kind
    detail: str = ""

    @property
    def cause(self) -> str:
        """In words, without what the message says itself."""
        match self.kind:
            case "numpy":
                return "it was built for another numpy"
            case "library":
                return f"the system lacks {self.detail}"
            case "newer system":
                return f"it was built for a newer system, one with {self.detail}"
            case "needs":
                return f"it needs {self.detail}, which is not installed"
            case "name taken":
                return f"a file here is called like {self.detail}"
            case "reinstall":
                return "this copy is damaged, or for another processor or Python"


def fault_of(error: BaseException, package: str | None) -> Fault | None:
    """The fault, None where the package is simply not installed or the message says nothing that is known.

    Args:
        error: What its import raised.
        package: Its name as it is imported, None if that is not known.
    """
    if isinstance(error, ModuleNotFoundError):
        missing = (error.name or "").partition(".")[0]
        if not missing or package is None or missing != package:
            return Fault("needs", missing) if missing and package is not None else None
        if "is not a package" in str(error):
            # A module without parts is called like it; None stands where Python was told not to import it.
            return Fault("name taken", package) if sys.modules.get(package) is not None else None
        # A part of the package itself: `No module named 'PIL._imaging'`.
        return Fault("reinstall", error.name or "") if "." in (error.name or "") else None
    if isinstance(error, SyntaxError):
        # A file that was cut or overwritten, as by a loss of power while it was installed.
        return Fault("reinstall")
    said: BaseException | None = error
    while said is not None:
        for pattern, kind, detail in _RULES:
            if found := re.search(pattern, str(said)):
                return Fault(kind, found.expand(detail))
        said = said.__cause__ or said.__context__
    return None
