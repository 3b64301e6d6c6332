"""The command line: one file per command in this package, each with ``add_arguments`` and ``execute``.

This package alone may import every other one, and does so inside functions, so that a command loads only what it needs.
"""
