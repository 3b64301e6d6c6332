"""Tasks on the boxes of other tasks, in firmware: what finds boxes, what cuts them out, which steps follow on that."""
