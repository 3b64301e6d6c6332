"""The device tests on emulated Arm processors under Debian 12: ``make arm64`` and ``make armv7``."""
