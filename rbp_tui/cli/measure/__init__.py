"""Commands that measure: bench, loading, cost, try, eval."""
