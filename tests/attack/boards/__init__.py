"""Boards that answer wrongly, and every command that speaks to one."""
