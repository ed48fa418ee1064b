"""Networks from elsewhere: which of their parts are activations, and what a neuron is in other libraries' words."""
