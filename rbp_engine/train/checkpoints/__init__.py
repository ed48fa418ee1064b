"""Checkpoints: what they contain, when they are written, and which are kept."""
