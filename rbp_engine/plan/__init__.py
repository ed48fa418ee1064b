"""Sweeps: a preset over combinations of settings and seeds. What is done is read from the runs, and nowhere else."""
