"""Print how every command ends with hostile boards: ``python -m tests.attack.boards [COUNT]``."""

from __future__ import annotations

import sys

from tests.attack.boards.meetings import COUNT, campaign

if __name__ == "__main__":
    sys.exit(campaign(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT) > 0)
