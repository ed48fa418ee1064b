"""The files of a run folder: where each one is, what it contains, how it is written and read."""
