"""A run as files: where they are, what is in them, how to start, watch and end one. No torch, no front end."""
