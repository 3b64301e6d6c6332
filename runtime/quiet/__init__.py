"""Answers over time: what holds, who is who, and what happened."""
