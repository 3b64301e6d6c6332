"""What commands share that send frames to a server, or say what that costs."""
