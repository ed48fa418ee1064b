"""Data sets: what they are, where they lie, and how they are loaded."""
