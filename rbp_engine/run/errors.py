"""What goes wrong with runs, in words for the person who asked."""


class RunError(Exception):
    """Something about a run cannot be done; the message names the run, why, and what to do."""
