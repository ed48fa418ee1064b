"""Training: the worker process, the loop, and what it keeps."""
