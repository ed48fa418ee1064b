"""`rbp eval`: evaluate the weights of a run, in a process of its own. `request.py` is what needs no torch."""
