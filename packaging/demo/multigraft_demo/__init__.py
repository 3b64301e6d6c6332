"""Networks, frames and settings of ``multigraft demo``; the code that uses them is multigraft's own."""
