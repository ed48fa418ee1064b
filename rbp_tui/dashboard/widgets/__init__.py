"""Widgets of our own, for what Textual has none."""
