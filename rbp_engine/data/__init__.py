"""Data sets: what they are, where they are on disk, and how they are loaded."""
