"""Early exits for classifications, fitted in closed form from unlabeled frames, with thresholds that keep a promise."""
