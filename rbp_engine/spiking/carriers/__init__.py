"""What flows through a network in place of a tensor, one kind for each method."""
