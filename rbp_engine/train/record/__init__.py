"""What a run leaves on record while it trains."""
