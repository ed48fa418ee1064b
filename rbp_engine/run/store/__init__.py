"""The runs directory: list, find, query, sort and remove runs."""
