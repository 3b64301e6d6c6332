"""Networks, frames and the multi-task graph as the converters hold them."""
