#!/usr/lib/multigraft/bin/python3 -P
"""The command ``multigraft``."""

import sys

from multigraft.command import main

sys.exit(main())
