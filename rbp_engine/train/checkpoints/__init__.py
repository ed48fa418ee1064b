"""Checkpoints: what is written, when, and which are kept."""
