"""What predicts accuracy after sharing a trunk."""
