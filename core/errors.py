"""Every error multigraft raises on purpose: one clear sentence, where it is, and what to do about it.

This module imports nothing. Each class is :class:`MultigraftError` plus the builtin it refines, so that callers may
catch either. The command line prints ``str(error)`` alone and exits with :attr:`MultigraftError.exit_code`;
``MULTIGRAFT_DEBUG=1`` shows the traceback. Exit codes follow sysexits.h where it has one (78 is EX_CONFIG).
"""


class MultigraftError(Exception):
    """Base of all errors of this package.

    Args:
        problem: What is wrong and where (file, node, place), without a full stop at the end.
        remedy: What the user can do about it, in the imperative.
    """

    exit_code = 2

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}." if self.remedy else f"{self.problem}."


class UsageError(MultigraftError, ValueError):
    """The command or the call was given something it cannot work with."""


class InputError(MultigraftError, ValueError):
    """A model, a frame or another input file is not what it has to be."""


class UnsupportedOperatorError(InputError, NotImplementedError):
    """A network holds an operator that multigraft cannot graft or convert."""


class BundleError(MultigraftError, ValueError):
    """A bundle is truncated, edited, or of a schema this version does not know."""


class ConfigurationError(MultigraftError, ValueError):
    """The settings file is wrong or contradicts itself."""

    exit_code = 78


class BudgetError(MultigraftError, ValueError):
    """What was made, and written beside the asked-for name, costs more or keeps less than the budget."""

    exit_code = 3


class MissingDependencyError(MultigraftError, ImportError):
    """An optional package is needed for what was asked."""


class ConversionError(MultigraftError, RuntimeError):
    """A conversion tool failed, or its result failed verification."""


class DeviceError(MultigraftError, OSError):
    """A camera, sensor or port does not answer as it has to."""


def one_line(error: BaseException) -> str:
    """The first non-empty line of an error's text without its full stop, for use inside a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
