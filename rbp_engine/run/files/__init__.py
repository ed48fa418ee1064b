"""The files of a run folder: where each lies, what is in it, how it is written and read."""
