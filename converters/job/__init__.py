"""What every long job shows and keeps: progress and checkpoints."""
