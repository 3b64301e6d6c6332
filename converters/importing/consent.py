"""Consent to run code: what PyTorch opens or imports can do whatever its author wants, before anything is checked.

A ``module:factory`` is Python code of the settings' folder. A .pt2 file is no safer: beside the pickles in it (sample
inputs, opaque constants, for which torch falls back to unsafe unpickling) its graph holds expressions that sympy
evaluates and guards that are compiled, so that a file without a single pickle runs a command, too. The consent comes
from the command line or the environment, never from a settings file, which may be what is hostile.
"""

from __future__ import annotations

import os
from pathlib import Path

from multigraft.converters.settings.settings import is_factory
from multigraft.errors import UsageError

OPTION = "--trust-code"
VARIABLE = "MULTIGRAFT_TRUST_CODE"


def require_consent(model: str, trusts_code: bool) -> None:
    """Refuse a model that runs code when it is opened, unless its user has agreed.

    Args:
        model: As in the settings: a file, or ``module:factory``.
        trusts_code: The user has agreed; the environment variable ``MULTIGRAFT_TRUST_CODE=1`` says the same.

    Raises:
        UsageError: It runs code, and nobody has agreed.
    """
    if trusts_code or os.environ.get(VARIABLE) == "1":
        return
    remedy = f"if you trust whoever wrote it, add {OPTION} or set {VARIABLE}=1"
    if Path(model).suffix.lower() == ".pt2":
        raise UsageError(
            f"{model} may run code of its author when PyTorch opens it", f"{remedy}, else ask for an .onnx"
        )
    if is_factory(model):
        raise UsageError(f"{model} runs Python code from the folder of the settings", remedy)
