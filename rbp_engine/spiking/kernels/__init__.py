"""The neuron's loops over time: eager and compiled."""
