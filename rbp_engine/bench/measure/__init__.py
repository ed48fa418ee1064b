"""Measure time, memory and operations of steps, epochs and loading, turn by turn."""
