"""What a training step costs, against other ways to train the same network."""
