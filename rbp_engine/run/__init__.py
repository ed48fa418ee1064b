"""A run as files: where they are, what they contain, how to start, watch and end a run. No torch, no front end."""
