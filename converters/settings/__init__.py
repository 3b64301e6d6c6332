"""``multigraft.toml``: read strictly, documented from its own fields."""
