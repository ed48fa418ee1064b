"""Runs that wait for devices: entries, which also say what a run has claimed, and the dispatcher that starts them."""
