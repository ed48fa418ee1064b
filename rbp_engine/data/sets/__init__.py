"""The data sets that are no events, each in its file."""
