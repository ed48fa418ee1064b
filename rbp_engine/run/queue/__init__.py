"""Runs that wait for devices: entries, claims, and the dispatcher that starts them."""
