"""The curve chart and what it is drawn with."""
