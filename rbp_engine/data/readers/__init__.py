"""Readers of the files of data sets: their formats, and what is refused of them."""
