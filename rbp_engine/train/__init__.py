"""Training: the worker process, the loop, checkpoints and records."""
