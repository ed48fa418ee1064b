"""The runs directory: which runs are there, asked for, sorted, thrown away."""
