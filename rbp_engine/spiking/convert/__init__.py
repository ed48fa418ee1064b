"""Networks from elsewhere: neurons in the place of their activations, and of SpikingJelly's neurons."""
