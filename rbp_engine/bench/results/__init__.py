"""What was measured, put together for those who read it."""
