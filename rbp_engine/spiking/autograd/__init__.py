"""The gradients that autograd does not know: batch norm, weighted operations, neurons."""
