"""``python -m multigraft``: the same as the command."""

import sys

from multigraft.command import main

if __name__ == "__main__":
    sys.exit(main())
