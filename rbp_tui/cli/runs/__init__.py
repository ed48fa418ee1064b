"""Commands on runs that are there: watch, logs, stop, kill, resume, ls, queue, runs."""
