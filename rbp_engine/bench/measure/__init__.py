"""Measuring: time, memory, operations, of steps, epochs and loading, turn by turn."""
