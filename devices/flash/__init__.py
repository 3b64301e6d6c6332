"""Writing images into boards: the port and its adapters."""
