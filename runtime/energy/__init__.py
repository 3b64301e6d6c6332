"""What running a bundle costs in joules: windows, bounds, and who of the tasks pays for what."""
