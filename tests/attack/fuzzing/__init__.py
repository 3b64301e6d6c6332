"""Coverage-guided fuzzing of whatever opens files of unknown senders; opt-in, and its corpus is a test."""
