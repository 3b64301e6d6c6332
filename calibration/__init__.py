"""What is collected on the device to guide grafting, without labels and without keeping frames."""
