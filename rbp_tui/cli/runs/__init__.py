"""Commands on existing runs: watch, logs, stop, kill, resume, ls, queue, runs."""
