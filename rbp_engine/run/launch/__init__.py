"""Create a run and start it: its folder, its environment, its processes."""
