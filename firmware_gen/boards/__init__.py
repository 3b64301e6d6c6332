"""Boards, cores, toolchains and emulators, as tables."""
