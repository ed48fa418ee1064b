"""Bringing a run into being: its folder, its environment, its processes."""
