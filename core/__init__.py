"""multigraft: several trained networks grafted onto one shared trunk, for small devices."""

from multigraft.bundle import Bundle
from multigraft.errors import MultigraftError
from multigraft.manifest import Manifest

__version__ = "0.1.0"
__all__ = ["Bundle", "Manifest", "MultigraftError", "__version__"]
