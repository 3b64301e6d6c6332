"""Early exits while a bundle runs: which segments a frame still needs, and whether exits keep their promise."""
