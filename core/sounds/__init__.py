"""From 16-bit samples to log-mel features, in whole numbers: Python and the firmware's C compute the same bits."""
