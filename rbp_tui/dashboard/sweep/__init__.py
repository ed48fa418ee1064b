"""The table of a sweep: its settings and what they reach, as it fills."""
