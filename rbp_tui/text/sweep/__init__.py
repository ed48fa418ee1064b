"""Sweeps in words, for commands and the dashboard."""
