"""From data to batches: order, shares of processes, worker processes, prefetching."""
