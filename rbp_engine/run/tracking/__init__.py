"""Runs that another program trains: any loop, which hands over its numbers and is never disturbed by that."""
