"""The curve chart and its parts."""
