#!/usr/lib/multigraft/bin/python3 -P
"""The command ``multigraft``."""

import sys

from multigraft.cli.main import main

sys.exit(main())
