"""Parts outputs that join values of unlike range, so that each part is quantised with a scale of its own."""
