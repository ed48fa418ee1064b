"""Measure what a training step costs, compared with other ways to train the same network."""
