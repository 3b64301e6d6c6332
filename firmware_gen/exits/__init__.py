"""Early exits: steps that decide whether a frame still needs others, and the audit, as C."""
