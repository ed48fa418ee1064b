"""What is read in the background for all screens."""
