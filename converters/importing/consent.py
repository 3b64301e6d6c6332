"""Consent to run code: what PyTorch opens or imports can do whatever its author wants, before anything is checked.

A ``module:factory`` is Python code of the settings' folder. A .pt2 file is no safer: beside the pickles in it (sample
inputs, opaque constants, for which torch falls back to unsafe unpickling) its graph holds expressions that sympy
evaluates and guards that are compiled, so that a file without a single pickle runs a command, too. The consent comes
from the command line or the environment, never from a settings file, which may be what is hostile.
"""

from __future__ import annotations

from pathlib import Path

from multigraft.errors import UsageError
from multigraft.own_code import OPTION, VARIABLE, is_function, is_trusted, require_trust


def require_consent(model: str, trusts_code: bool) -> None:
    """Refuse a model that runs code when it is opened, unless its user has agreed.

    Args:
        model: As in the settings: a file, or ``module:factory``.
        trusts_code: The user has agreed; the environment variable ``MULTIGRAFT_TRUST_CODE=1`` says the same.

    Raises:
        UsageError: It runs code, and nobody has agreed.
    """
    if Path(model).suffix.lower() == ".pt2" and not is_trusted(trusts_code):
        raise UsageError(
            f"{model} may run code of its author when PyTorch opens it",
            f"if you trust whoever wrote it, add {OPTION} or set {VARIABLE}=1, else ask for an .onnx",
        )
    if is_function(model):
        require_trust(model, trusts_code)
