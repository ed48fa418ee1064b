"""The processes of a run among one another: gradients, signals, stalls, who failed first."""
