"""Other machines, through the user's own ssh: their rbp does the work, and nothing listens on a port."""
