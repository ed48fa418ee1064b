"""Layers of neurons as carriers fire them, and their loops over time."""
